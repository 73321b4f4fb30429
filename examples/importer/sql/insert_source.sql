-- Notes that all parts of a source are enqueued. ?1 source, ?2 parts; one statement, one commit.
INSERT INTO source (name, parts) VALUES (?1, ?2)
