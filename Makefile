# Every verb of this repository. `make` alone lists them; continuous integration runs the same.

# A recipe is one script. Make strips `@`, `-` and `+` from the start of its lines even so.
.ONESHELL:
.SILENT:
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test setup launcher check bench night year released fuzz web package image boot-test

# Passed to the program that a verb ends in: `make demo ARGS=--once`.
ARGS ?=

# What a night may take in all, in seconds: 150 minutes, less 10 to build and to write down.
NIGHT_SECONDS := 8400

help: # this list
	printf 'Forepost: the verbs\n\n'
	sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | while IFS=$$'\t' read -r verb text; do
		printf '  make %-10s %s\n' "$$verb" "$$text"
	done

demo: ## clouds and an appliance on this machine, with made-up patients; ARGS=--once ends by itself
	cat <<-'TEXT'
		This builds Forepost and runs its demonstration on this machine. It needs:
		  * Rust 1.95 (cargo; with rustup the right version is fetched by itself)
		  * a C compiler (cc), for the database and the cryptography inside
		  * about 3 GB of disk for the build, 300 MB for the demonstration's data
		  * free ports on 127.0.0.1; a taken one gives the next free one
		The first build takes some minutes and fetches crates; no other program is needed.
	TEXT
	missing=0
	if ! command -v cargo >/dev/null; then
		echo 'Missing: cargo. Install Rust by rustup, then open a new shell.' >&2; missing=1
	elif ! version=$$(cargo --version | cut -d' ' -f2); then
		echo 'cargo does not run here; its own words are above.' >&2; missing=1
	elif [ "$$(printf '1.95.0\n%s\n' "$$version" | sort -V | head -n 1)" != 1.95.0 ]; then
		echo "cargo is $$version, 1.95 is needed: rustup toolchain install 1.95.0" >&2; missing=1
	fi
	if ! command -v cc >/dev/null; then
		echo 'Missing: a C compiler. On Debian: apt-get install gcc libc6-dev' >&2; missing=1
	fi
	free=$$(df -Pk . | awk 'NR == 2 { print int($$4 / 1024) }')
	need=3300; [ ! -x target/release/forepost ] || need=300
	if [ "$$free" -lt "$$need" ]; then
		echo "Only $$free MB of disk are free here, $$need are needed." >&2; missing=1
	fi
	[ "$$missing" = 0 ] || exit 1
	cargo build --release --locked --package forepost
	exec target/release/forepost demo $(ARGS)

test: ## everything that CI runs, set-up included (as root it installs what is missing)
	.ci/setup
	$(MAKE) --no-print-directory launcher
	$(MAKE) --no-print-directory web
	$(MAKE) --no-print-directory check
	cargo test --quiet --workspace --locked --doc
	cargo nextest run --workspace --locked --profile ci

setup: ## what the tests need: Orthanc, DCMTK, databases, cargo-nextest, a Python in .venv
	.ci/setup

launcher: ## the workstations' launcher for Windows and Linux, to target/launcher; then build again
	exec launcher/build

check: ## formatting, clippy, licences, bans; no test is run
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	if command -v cargo-deny >/dev/null; then
		cargo deny --locked check bans licenses sources
	else
		echo 'cargo-deny is not installed: of deny.toml only the bans are checked, by tests/tidy.rs'
	fi

bench: ## the figures of docs/PERFORMANCE.md, measured on this machine beside the others' programs
	if [ ! -x benches/run ]; then
		echo 'bench is not built yet: it will need benches/run' >&2; exit 2
	fi
	.ci/setup
	exec benches/run $(ARGS)

night: ## a simulated year, machines, then the campaigns, in 150 minutes in all; evidence to docs/evidence/
	.ci/setup
	$(MAKE) --no-print-directory launcher
	$(MAKE) --no-print-directory web
	cargo nextest run --workspace --locked --profile night --no-run
	list='cargo nextest list --workspace --locked --message-format oneline'
	campaigns=$$($$list -E 'test(campaign)' | grep -c . || true)
	if [ "$$campaigns" = 0 ]; then
		echo 'night has nothing to run yet: no test has campaign in its name' >&2; exit 2
	fi
	mkdir -p docs/evidence
	SECONDS=0
	packaging/build
	$(MAKE) --no-print-directory year
	$(MAKE) --no-print-directory released
	FOREPOST_PACKAGES=target/package \
		cargo nextest run --workspace --locked --profile night -E 'test(/(^|::)night_/)'
	cargo nextest run --workspace --locked --profile night -E 'test(the_program_of_the_last_release)'
	left=$$(( $(NIGHT_SECONDS) - SECONDS ))
	if [ "$$left" -lt "$$campaigns" ]; then
		echo "year and machines took $$SECONDS s and left the campaigns nothing" >&2; exit 1
	fi
	seconds=$${FOREPOST_CAMPAIGN_SECONDS:-$$(( left / campaigns ))}
	echo "year and machines took $$SECONDS s; $$campaigns campaigns, $$seconds s each"
	FOREPOST_CAMPAIGN_SECONDS=$$seconds FOREPOST_EVIDENCE=$(CURDIR)/docs/evidence \
		timeout --foreground --signal=INT $$(( left + 600 )) \
		cargo nextest run --workspace --locked --profile night -E 'test(campaign)'

year: ## a simulated year of settlements, outages and kills; evidence to docs/evidence/
	cargo build --release --locked --package forepost
	mkdir -p docs/evidence
	seed=$${FOREPOST_CAMPAIGN_SEED:-$$(date +%s)}
	commit=$$(git rev-parse --short=10 HEAD)
	report=$$(target/release/forepost simulate --days 365 --seed "$$seed")
	{
		printf '# A simulated year\n\nWritten by `make year`; the seed replays it.\n\n'
		printf 'Commit %s, seed %s.\n\n' "$$commit" "$$seed"
		printf '```\n%s\n```\n' "$$report"
	} > docs/evidence/simulated_year.md
	cat docs/evidence/simulated_year.md

released: ## the program of the last release, to target/released: it must run on today's ledger
	commit=$$(sed -n 's/^commit = "\(.*\)"/\1/p' tests/fixtures/ledgers/released.toml)
	to=target/released/$$commit
	if [ ! -x "$$to/forepost" ]; then
		mkdir -p "$$to"
		git archive "$$commit" | tar -x -C "$$to"
		(cd "$$to" && CARGO_TARGET_DIR=$(CURDIR)/target/released/build \
			cargo build --locked --package forepost)
		cp target/released/build/debug/forepost "$$to/forepost"
	fi
	"$$to/forepost" --version

fuzz: ## each parser of foreign bytes, or those in ARGS, for FOREPOST_FUZZ_SECONDS (60); evidence filed
	if ! cargo fuzz --version >/dev/null 2>&1; then
		echo 'missing: cargo-fuzz. cargo install cargo-fuzz; a C++ compiler is needed, too' >&2; exit 2
	fi
	exec fuzz/run $(ARGS)

web: ## the application of the doctors' pages, into target/web, where the next build takes it in
	version=$$(node --version 2>/dev/null || true)
	if [ "$$(printf 'v20.19.0\n%s\n' "$$version" | sort -V | head -n 1)" != v20.19.0 ]; then
		echo "Node 20.19 or newer is needed, here is: $${version:-none}" >&2; exit 2
	fi
	cd web
	if ! cmp -s package-lock.json node_modules/installed.json; then
		npm ci --silent
		cp package-lock.json node_modules/installed.json
	fi
	npm run --silent build

package: ## .deb, .rpm and tarball for glibc 2.28 and newer, tried and written to target/package/
	.ci/setup
	$(MAKE) --no-print-directory launcher
	$(MAKE) --no-print-directory web
	packaging/build
	FOREPOST_PACKAGES=target/package \
		cargo nextest run --workspace --locked --profile night -E 'binary(package)'
	cat target/package/SHA256SUMS

image: ## not built yet: will need the recipe in appliance/, mmdebstrap and systemd-boot-efi
	echo 'image is not built yet: it will need the recipe in appliance/, see its README' >&2
	exit 2

boot-test: ## not built yet: will need the image, qemu-system-x86 and ovmf
	echo 'boot-test is not built yet: it will need the image, qemu-system-x86 and ovmf' >&2
	exit 2
