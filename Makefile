# Thin doors to `cargo xtask`, for people who do not know cargo.
.PHONY: up down test

up: ## build, start, deploy the examples
	@sh scripts/setup.sh run
	@cargo xtask up

down: ## stop everything and leave nothing behind
	@sh scripts/setup.sh rust
	@cargo xtask down

test: ## every test, privileged ones included
	@sh scripts/setup.sh test
	@cargo xtask test
