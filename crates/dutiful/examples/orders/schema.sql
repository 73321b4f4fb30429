-- The shop's own tables, beside those of Dutiful. No parameters; run once, before any other writer.
CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT NOT NULL);
CREATE TABLE stock (item TEXT PRIMARY KEY, n INTEGER NOT NULL CHECK (n >= 0));
INSERT INTO stock (item, n) VALUES ('book', 10);
