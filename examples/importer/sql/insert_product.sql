-- Takes in a row. ?1 source, ?2 line, ?3 article, ?4 stock; inside a part's own BEGIN IMMEDIATE.
-- A row that an earlier attempt took in stays as it is.
INSERT INTO product (source, line, sku, stock) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING
