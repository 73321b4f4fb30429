-- One small row, committed by itself. No parameters; nobody else has the file.
INSERT INTO commit_row (bytes) VALUES (randomblob(200))
