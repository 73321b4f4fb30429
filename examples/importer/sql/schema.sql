-- What was imported, beside the tables of Dutiful. No parameters; run at each start, before others.
CREATE TABLE IF NOT EXISTS source (name TEXT PRIMARY KEY, parts INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS product (
  source TEXT NOT NULL, line INTEGER NOT NULL, sku TEXT NOT NULL, stock INTEGER NOT NULL,
  PRIMARY KEY (source, line)
) WITHOUT ROWID;
