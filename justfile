# Short names for the daily commands; `./test` is the one that decides.

# Lists the commands.
default:
    @just --list

# Runs every test.
test:
    ./test

# Runs the fast loop.
quick:
    ./test quick

# Formats everything.
fmt:
    cargo fmt --all

# Checks with every lint, as the tests do.
lint:
    cargo clippy --workspace --all-targets --all-features -- -D warnings

# Checks the rules of the house alone.
tidy:
    cargo test --workspace --all-features --test tidy

# Builds the documentation and opens it.
docs:
    cargo doc --workspace --no-deps --all-features --open

# Shows the whole of it at work: a small shop, and a worker killed in the middle.
demo *ARGS:
    cargo run --release -- demo {{ARGS}}

# Measures a store: bulk, drain and pickup.
bench *ARGS:
    cargo run --release -- bench {{ARGS}}

# Runs the library's tests with a bug put in on purpose; a test has to fail.
bug NAME:
    RUSTFLAGS='--cfg bug="{{NAME}}"' cargo test --workspace --all-features --target-dir target/bug
