-- The shop's own tables, beside those of Dutiful. No parameters; run at each start, before others.
CREATE TABLE IF NOT EXISTS user (id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE);
