# bbm-fcgi. GNU make. `make help` prints what stands behind ## below.

VERSION := 0.1.0
SOAK_SECONDS ?= 1800
CC      ?= cc
CSTD    := -std=c11 -D_GNU_SOURCE
WARN    := -Wall -Wextra -Wpedantic -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
           -Wvla -Wformat=2 -Wundef
CFLAGS  ?= -O2 -g
SHELL   := /bin/sh

# Warnings stop the build where we watch them (CI); a packager's newer compiler may know
# more of them.
ifdef CI
WARN    += -Werror
endif

ifdef SANITIZE
empty   :=
space   := $(empty) $(empty)
comma   := ,
BUILD   ?= build/$(subst $(comma),-,$(SANITIZE))
HARDEN  := -fsanitize=$(SANITIZE) -fno-omit-frame-pointer -fno-sanitize-recover=all
else
BUILD   ?= build
HARDEN  := -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fstack-clash-protection \
           -fcf-protection -fPIE
HARDLD  := -pie -Wl,-z,relro,-z,now,-z,noexecstack,--as-needed
endif

# json-c before jansson: where both define a function, calls are to json-c's (see json_input.h).
PACKAGES := fcgi libjwt json-c jansson libpq yaml-0.1 libcrypto libseccomp
# Asked for when first needed: `make run` may have to install pkg-config itself first.
PKG_CFLAGS = $(eval PKG_CFLAGS := $$(shell pkg-config --cflags $(PACKAGES)))$(PKG_CFLAGS)
PKG_LIBS   = $(eval PKG_LIBS := $$(shell pkg-config --libs $(PACKAGES)) -lm)$(PKG_LIBS)

GENERATED := $(BUILD)/generated

COMPILE = $(CC) $(CSTD) $(WARN) $(CFLAGS) $(HARDEN) $(CPPFLAGS) -DBBM_VERSION='"$(VERSION)"' \
          -Ifcgi -I$(GENERATED) $(PKG_CFLAGS) -pthread -MMD -MP
LINK    = $(CC) $(CFLAGS) $(HARDEN) $(HARDLD) $(LDFLAGS) -pthread

SOURCES := $(wildcard fcgi/*.c fcgi/*/*.c)
OBJECTS := $(SOURCES:fcgi/%.c=$(BUILD)/fcgi/%.o) $(BUILD)/sql_statements.o $(BUILD)/page_files.o
SQL     := $(wildcard sql/*.sql)
# Of these are made: the statements that write the history, one for the first schema, and those for when
# no job is unfinished.
CHANGES := pause resume restart restart_first
SQL     := $(filter-out sql/history.sql sql/recorded.sql sql/role.sql sql/sample.sql,$(SQL)) \
           $(BUILD)/sql/restart_first.sql $(CHANGES:%=$(BUILD)/sql/%_recorded.sql) \
           $(BUILD)/sql/unchanged_finished.sql $(BUILD)/sql/unchanged_list_finished.sql
PAGE    := $(wildcard fcgi/page/*.html fcgi/page/*.css fcgi/page/*.js fcgi/page/*.json)
UNITS   := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(wildcard tests/unit/test_*.c))
FUZZERS := $(patsubst tests/fuzz/fuzz_%.c,$(BUILD)/tests/fuzz/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_SECONDS := 60
SOAK_TOKENS := 1000000

BENCH_PROGRAMS := $(patsubst tests/bench/%.c,$(BUILD)/bench/%,$(wildcard tests/bench/*.c))

PREFIX   ?= /usr/local
BIN      := $(PREFIX)/bin
SBIN     := $(PREFIX)/sbin
MAN      := $(PREFIX)/share/man
DOC      := $(PREFIX)/share/doc/bbm-fcgi
SHARE    := $(PREFIX)/share/bbm-fcgi
EXAMPLES ?= $(SHARE)/deploy
UNITDIR  := $(PREFIX)/lib/systemd/system
COMMANDS := deploy/chatops/bbm deploy/chatops/mint-token
PAGES    := $(wildcard deploy/man/*.[18])
COMPLETE := deploy/chatops/bbm.bash-completion
SCRIPTS  := $(wildcard sql/role.sql sql/history.sql)
DEPLOYED := $(filter-out deploy/demo/% deploy/man/% deploy/debian/% $(COMMANDS) $(COMPLETE),$(wildcard deploy/*.md deploy/*/*))

.PHONY: all help check deps deps-test deps-bench deps-debian deps-deb unit units fuzzers fuzz race run test test-debian test-slow \
        test-threads soak soak-tokens cost instructions system-calls memcheck coverage bench lint format clean install uninstall deb test-deb test-systemd version
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

check: all $(FUZZERS) ## what needs nothing installed but what building needs: arrows, hardening, fuzz corpora
	tests/includes
	tests/check-hardening $(BUILD)/bbm-fcgi
	for fuzzer in $(notdir $(FUZZERS)); do \
	    find tests/fuzz/corpus/$$fuzzer -type f -exec $(BUILD)/tests/fuzz/$$fuzzer {} + || exit 1; \
	done

all: $(BUILD)/bbm-fcgi ## build/bbm-fcgi

$(BUILD)/bbm-fcgi: $(OBJECTS)
	$(LINK) -o $@ $^ $(PKG_LIBS)

$(BUILD)/fcgi/%.o: fcgi/%.c
	@mkdir -p $(@D)
	$(COMPILE) -c -o $@ $<

$(BUILD)/sql/restart_first.sql: sql/restart.sql
	@mkdir -p $(@D)
	sed '/failure_error_code/d' $< > $@

$(BUILD)/sql/%_finished.sql: sql/%.sql
	@mkdir -p $(@D)
	sed '/-- begin unfinished/,/-- end unfinished/d' $< > $@

$(BUILD)/sql/%_recorded.sql: sql/recorded.awk sql/recorded.sql sql/%.sql
	@mkdir -p $(@D)
	awk -f $^ > $@

$(BUILD)/sql/restart_first_recorded.sql: sql/recorded.awk sql/recorded.sql $(BUILD)/sql/restart_first.sql
	@mkdir -p $(@D)
	awk -f $^ > $@

$(GENERATED)/sql_statements.c: $(SQL) sql/embed.awk
	@mkdir -p $(@D)
	awk -v header=$(@:.c=.h) -f sql/embed.awk $(SQL) > $@

$(GENERATED)/sql_statements.h: $(GENERATED)/sql_statements.c
	@test -e $@ || { rm $< && $(MAKE) $<; }

$(OBJECTS): | $(GENERATED)/sql_statements.h

$(BUILD)/sql_statements.o: $(GENERATED)/sql_statements.c
	$(COMPILE) -c -o $@ $<

$(BUILD)/page_files.c: $(PAGE) fcgi/page/embed
	@mkdir -p $(@D)
	fcgi/page/embed $(PAGE) > $@

$(BUILD)/page_files.o: $(BUILD)/page_files.c
	$(COMPILE) -c -o $@ $<

# A unit test is one file with everything but main() behind it. What it, or a header of tests/unit that
# it includes, defines as __wrap_NAME stands in the place of NAME.
UNIT_FILES   = $< $(wildcard $(shell sed -n 's|^.include "\([a-z_]*\.h\)"$$|tests/unit/\1|p' $<))
UNIT_WRAPPED = $(sort $(shell grep -oh '__wrap_[A-Za-z][A-Za-z0-9_]*' $(UNIT_FILES)))

$(BUILD)/tests/unit/%: tests/unit/%.c $(filter-out %/main.o,$(OBJECTS))
	@mkdir -p $(@D)
	$(COMPILE) -o $@ $(filter %.c %.o,$^) $(UNIT_WRAPPED:__wrap_%=-Wl,--wrap=%) $(HARDLD) $(PKG_LIBS) \
	    $$(pkg-config --cflags --libs cmocka)

# What the benchmark loads and compares with.
$(BUILD)/bench/%: tests/bench/%.c
	@mkdir -p $(@D)
	$(COMPILE) -o $@ $< $(HARDLD) $$(pkg-config --libs fcgi)

# A fuzz target that replays files, for the tests, and one with libFuzzer behind it.
FUZZ = $(COMPILE) -Itests -Itests/fuzz -DFUZZ_FOLDER='"$(abspath tests/fuzz)"' -o $@ \
       $(filter %.c %.o,$^) $(HARDLD)

$(BUILD)/tests/fuzz/%: tests/fuzz/fuzz_%.c tests/fuzz/replay.c $(filter-out %/main.o,$(OBJECTS))
	@mkdir -p $(@D)
	$(FUZZ) $(PKG_LIBS)

$(BUILD)/tests/fuzz/%-fuzzer: tests/fuzz/fuzz_%.c $(filter-out %/main.o,$(OBJECTS))
	@mkdir -p $(@D)
	$(FUZZ) -fsanitize=fuzzer $(PKG_LIBS)

$(BUILD)/tests/soak_tokens: tests/soak_tokens.c $(filter-out %/main.o,$(OBJECTS))
	@mkdir -p $(@D)
	$(COMPILE) -Itests -o $@ $(filter %.c %.o,$^) $(HARDLD) $(PKG_LIBS)

# The program with tests/fault/fail.c between it and what it calls, and inside.c behind all.
WRAPPED = $(shell sed -n 's/^WRAP.[^,]*, \([A-Za-z0-9_]*\),.*/\1/p; s/^int __wrap_\([a-z]*\).*;/\1/p' $<)

$(BUILD)/tests/failing/bbm-fcgi: tests/fault/fail.c tests/fault/inside.c tests/fault/plan.h $(OBJECTS)
	@mkdir -p $(@D)
	$(COMPILE) -fno-builtin -o $@ $(filter %.c %.o,$^) $(WRAPPED:%=-Wl,--wrap=%) $(HARDLD) $(PKG_LIBS)

# The program that does on request what the sandbox forbids.
$(BUILD)/tests/misled/bbm-fcgi: tests/fault/misdeed.c $(OBJECTS)
	@mkdir -p $(@D)
	$(COMPILE) -o $@ $(filter %.c %.o,$^) -Wl,--wrap=FCGX_Accept_r $(HARDLD) $(PKG_LIBS)

# A program that has passed is run again when it is built again.
$(BUILD)/tests/unit/%.passed: $(BUILD)/tests/unit/%
	@$< >$@.log 2>&1 || { cat $@.log; exit 1; }
	@touch $@

units: $(UNITS:%=%.passed) ## the unit tests alone

unit: $(UNITS) $(FUZZERS) $(BUILD)/tests/soak_tokens $(BUILD)/tests/failing/bbm-fcgi \
      $(BUILD)/tests/misled/bbm-fcgi

fuzzers: $(FUZZERS:%=%-fuzzer)

fuzz: ## fuzzes each target for FUZZ_SECONDS (60), with clang
	$(MAKE) fuzzers CC=clang SANITIZE=fuzzer-no-link,address,undefined BUILD=build/fuzz
	tests/fuzz/run -s $(FUZZ_SECONDS)

race: ## only the tests of what threads share, under ThreadSanitizer
	$(MAKE) all unit SANITIZE=thread BUILD=build/thread
	BBM_BUILD="$(abspath build/thread)" tests/threads -k "swap or token_reasons or corpus or soak_of_tokens"

test-threads: deps-test ## all tests under ThreadSanitizer
	$(MAKE) all unit SANITIZE=thread BUILD=build/thread
	BBM_BUILD="$(abspath build/thread)" tests/threads

soak-tokens: $(BUILD)/tests/soak_tokens ## a million distinct tokens; memory must stay flat; SOAK_TOKENS
	$(BUILD)/tests/soak_tokens $(SOAK_TOKENS)

cost: all ## what each kind of token costs, counted by callgrind
	BBM_BUILD="$(abspath $(BUILD))" tests/token_cost

instructions: all ## what each kind of request costs in instructions, and where; ARGS='-k pause*'
	BBM_BUILD="$(abspath $(BUILD))" tests/instructions $(ARGS)

system-calls: all ## which system calls each kind of request makes; ARGS='-k list* -v'
	BBM_BUILD="$(abspath $(BUILD))" tests/system_calls $(ARGS)

deps: ## installs what building and the demo need
	deploy/demo/packages

deps-test: ## installs what the tests and the lint need
	deploy/demo/packages --test

deps-bench:
	deploy/demo/packages --bench

deps-debian:
	deploy/demo/packages --debian

deps-deb:
	deploy/demo/packages --deb

run: deps ## a demo on loopback until Ctrl-C; installs what is missing
	$(MAKE) all
	BBM_BUILD="$(abspath $(BUILD))" exec deploy/demo/run

test: deps-test ## all tests; installs what is missing; ARGS='-k pause': some of them; SANITIZE=address,undefined
	$(MAKE) all unit
	BBM_BUILD="$(abspath $(BUILD))" tests/run $(ARGS)

test-debian: deps-debian ## make test from a clean clone in a bare Debian 12 and 13; SUITES=sid, KEEP=1, ARGS; see tests/debian
	SUITES="$(SUITES)" KEEP="$(KEEP)" tests/debian $(ARGS)

# With the tests that have to wait, and a minute of random input.
test-slow: deps-test ## all tests, with those that wait for long
	$(MAKE) all unit
	BBM_TEST_SLOW=1 BBM_HOSTILE_SECONDS=60 BBM_BUILD="$(abspath $(BUILD))" tests/run

soak: deps-test ## a long load; memory must stay flat; SOAK_SECONDS=1800
	$(MAKE) all
	BBM_BUILD="$(abspath $(BUILD))" /usr/bin/python3 tests/soak/soak.py $(SOAK_SECONDS)

# Not hardened: valgrind takes the fortified memmove for a memcpy.
memcheck: deps-test ## all tests under valgrind; MEMCHECK='test_jobs unit': some of them
	$(MAKE) all unit BUILD=build/memcheck HARDEN= HARDLD= CPPFLAGS=-DBBM_NO_SANDBOX
	BBM_BUILD="$(abspath build/memcheck)" tests/memcheck $(MEMCHECK)

coverage: deps-test ## all tests, and the lines that they reach
	$(MAKE) all unit BUILD=build/coverage CFLAGS='-O1 -g --coverage -fprofile-update=atomic' \
	    CPPFLAGS=-DBBM_NO_SANDBOX
	BBM_BUILD="$(abspath build/coverage)" tests/coverage

bench: deps-bench ## compares with what else could answer: build/bench.md; installs what is missing; BENCH='--rounds 2'
	$(MAKE) all $(BENCH_PROGRAMS)
	BBM_BUILD="$(abspath $(BUILD))" tests/bench/run $(BENCH)

lint: $(GENERATED)/sql_statements.h ## clang-format, clang-tidy, shellcheck, the arrows between rooms
	tests/includes
	clang-format --dry-run --Werror $(SOURCES) $(wildcard fcgi/*/*.h) tests/*.[ch] tests/*/*.[ch]
	shellcheck -x -P deploy/spawn-fcgi $(SHELL_FILES)
	clang-tidy --quiet $(SOURCES) tests/bench/*.c -- $(CSTD) -Ifcgi -I$(GENERATED) -DBBM_VERSION='"$(VERSION)"' $(PKG_CFLAGS)

SHELL_FILES := $(COMMANDS) $(COMPLETE) $(wildcard deploy/spawn-fcgi/bbm-fcgi-spawn deploy/spawn-fcgi/*.init \
    deploy/demo/packages deploy/demo/run deploy/debian/build fcgi/page/embed tests/run tests/debian tests/deb tests/systemd tests/includes \
    tests/coverage tests/threads tests/check-hardening tests/fuzz/run tests/bench/run)

format: ## lays the sources out as .clang-format says
	clang-format -i $(SOURCES) $(wildcard fcgi/*/*.h) tests/*.[ch] tests/*/*.[ch]

# $(call place,FILE,TARGET): a copy that names the program by its place; runnable as FILE is.
place = install -D -m $$([ -x $(1) ] && echo 755 || echo 644) $(1) $(DESTDIR)$(2) && \
        sed -i 's|/usr/local/sbin/|$(SBIN)/|g' $(DESTDIR)$(2)

install: all ## [PREFIX=/usr/local] [DESTDIR=] [SYSTEMD=1: units, sysusers, tmpfiles]; starts nothing, writes nothing to /etc
	install -D -m 755 $(BUILD)/bbm-fcgi $(DESTDIR)$(SBIN)/bbm-fcgi
	install -D -m 644 conf/config.yml $(DESTDIR)$(SHARE)/config.yml
	install -D -m 644 -t $(DESTDIR)$(SHARE) $(SCRIPTS)
	install -D -m 755 -t $(DESTDIR)$(BIN) $(COMMANDS)
	install -D -m 644 -t $(DESTDIR)$(DOC) LICENSE
	for page in $(PAGES); do install -D -m 644 -t $(DESTDIR)$(MAN)/man$${page##*.} $$page || exit 1; done
	for file in $(COMPLETE); do \
	    install -D -m 644 $$file $(DESTDIR)$(PREFIX)/share/bash-completion/completions/bbm || exit 1; \
	done
	for file in $(DEPLOYED); do $(call place,$$file,$(EXAMPLES)/$${file#deploy/}) || exit 1; done
ifdef SYSTEMD
	for unit in deploy/systemd/*.service deploy/systemd/*.socket; do \
	    $(call place,$$unit,$(UNITDIR)/$${unit##*/}) || exit 1; \
	done
	for kind in sysusers tmpfiles; do \
	    install -D -m 644 deploy/systemd/bbm-fcgi.$$kind $(DESTDIR)$(PREFIX)/lib/$$kind.d/bbm-fcgi.conf || exit 1; \
	done
endif

# Folders that are left empty go, too; of those that every system has, only in a DESTDIR.
INSTALLED = $(SBIN)/bbm-fcgi $(COMMANDS:deploy/chatops/%=$(BIN)/%) \
    $(foreach page,$(PAGES),$(MAN)/man$(patsubst .%,%,$(suffix $(page)))/$(notdir $(page))) \
    $(PREFIX)/share/bash-completion/completions/bbm $(UNITDIR)/bbm-fcgi.service $(UNITDIR)/bbm-fcgi.socket \
    $(PREFIX)/lib/sysusers.d/bbm-fcgi.conf $(PREFIX)/lib/tmpfiles.d/bbm-fcgi.conf
FOLDERS   = $(UNITDIR) $(PREFIX)/lib/systemd $(PREFIX)/lib/sysusers.d $(PREFIX)/lib/tmpfiles.d \
    $(PREFIX)/share/bash-completion/completions $(PREFIX)/share/bash-completion $(MAN)/man1 $(MAN)/man8 \
    $(if $(DESTDIR),$(PREFIX)/share/doc $(MAN) $(PREFIX)/share $(PREFIX)/lib $(BIN) $(SBIN))

uninstall: ## removes what install has installed
	rm -f $(INSTALLED:%=$(DESTDIR)%)
	rm -rf $(DESTDIR)$(SHARE) $(DESTDIR)$(EXAMPLES) $(DESTDIR)$(DOC)
	for folder in $(FOLDERS:%=$(DESTDIR)%); do \
	    [ ! -d $$folder ] || rmdir --ignore-fail-on-non-empty $$folder || exit 1; \
	done
ifneq ($(DESTDIR),)
	cd $(DESTDIR) && { [ ! -d .$(PREFIX) ] || rmdir -p --ignore-fail-on-non-empty $(PREFIX:/%=%); }
endif

deb: deps-deb ## build/deb/bbm-fcgi_*.deb for this Debian release
	deploy/debian/build

test-systemd: deps-debian ## the units under a real systemd, in a virtual machine; needs qemu-system-x86; SUITES
	SUITES="$(SUITES)" tests/systemd

test-deb: deps-debian ## builds, lints, installs, upgrades and purges the package in a bare Debian 12 and 13; SUITES
	SUITES="$(SUITES)" tests/deb

# The one place that says it; a release's git tag is v and this.
version:
	@echo $(VERSION)

clean: ## removes build/
	rm -rf build

-include $(OBJECTS:.o=.d) $(UNITS:=.d) $(FUZZERS:=.d)
