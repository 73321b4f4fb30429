-- Version 2: renewals of leases that a user's transaction has: a locked row cannot be changed, and
-- is there as it was when that transaction is rolled back. Takes a lock on a new table only.
CREATE TABLE dutiful.renewal (
    id      uuid PRIMARY KEY,
    attempt int NOT NULL,
    nonce   bigint NOT NULL,
    until   timestamptz NOT NULL
);
