-- One small row, committed by itself. No parameters; no lock that anybody waits for.
INSERT INTO commit_row (bytes) VALUES (decode(repeat('ab', 200), 'hex'))
