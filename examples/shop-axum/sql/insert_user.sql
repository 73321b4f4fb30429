-- Stores a user. ?1 is the address; inside the shop's own BEGIN IMMEDIATE, with the mail's job.
INSERT INTO user (email) VALUES (?1)
