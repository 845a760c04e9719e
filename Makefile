# Targets: help all run react cluster screenshots docs test test-full check asan tsan fuzz bench compare format version install clean
#
# all      the module, into build/         run    install what is missing, serve the showcase
# test     the same, run every spec        test-full  with the large counts too (half an hour)
# check    linters, zero warnings          asan tsan  the specs with gcc's sanitizers
# fuzz     FUZZ_SECONDS=20 a target        bench compare  against raw sockets; other servers (spec/bench/)
# format   clang-format all C files        docs   pages of the documents, into build/docs   cluster  three nodes
# install  below PREFIX=/usr/local, after `all`; UNITDIR, ZSHDIR   version  prints it; VERSION=0.2.0 sets it
# react    build examples/react, serve it by Caddy   screenshots  doc/images: PAGES="devices reload", or all
# Variables: HOST=127.0.0.1 PORT=5121 (run), HTTPS_PORT=5443 (react), SPEC=spec/unit (test), SAN=address|thread, V=1 (show commands),
# URING=no, HIREDIS=no, NGHTTP2=no, CC, CFLAGS, LDFLAGS, PREFIX, DESTDIR, LUA, LUA_INCDIR; _INCDIR and _LIBDIR of LIBEV, LIBCURL, SQLITE, OPENSSL, ZLIB, ZSTD.
SAN     ?=
B       ?= build/$(or $(SAN),plain)
LUA     ?= lua5.4
PORT    ?= 5121
PREFIX  ?= /usr/local
CFLAGS  ?= -O2 -g
Q       := $(if $(V),,@)
MAKEFLAGS += --no-print-directory $(if $(filter 0,$(MAKELEVEL)),-j$(shell nproc))
TESTING := $(wildcard csrc/bind/testing*.c)
URING   ?= $(shell pkg-config --atleast-version=2.2 liburing 2>/dev/null && echo yes || echo no)
HIREDIS ?= $(shell pkg-config --atleast-version=0.14 hiredis 2>/dev/null && echo yes || echo no)
NGHTTP2 ?= $(shell pkg-config --atleast-version=1.50 libnghttp2 2>/dev/null && echo yes || echo no)
LIBS    := -lev -lcurl -lsqlite3 -lssl -lcrypto -lz -lzstd -lpthread $(if $(filter yes,$(URING)),-luring) $(if $(filter yes,$(HIREDIS)),-lhiredis) $(if $(filter yes,$(NGHTTP2)),-lnghttp2)
SIM     := $(wildcard csrc/bind/sim*.c)
SRC     := $(filter-out $(TESTING) $(SIM),$(wildcard csrc/*/*.c csrc/*/*/*.c))
OBJ     := $(SRC:csrc/%.c=$(B)/obj/%.o)
PLAIN   := $(filter-out $(B)/obj/bind/%,$(OBJ))
MODULES := $(TESTING:csrc/bind/%.c=$(B)/sluice/core/%.so)
FUZZERS := $(patsubst spec/fuzz/%.c,$(B)/%,$(wildcard spec/fuzz/*_fuzz.c))
PRELOAD := $(patsubst thread,libtsan.so,$(patsubst address,libasan.so,$(SAN)))
SAN_address := -O1 -U_FORTIFY_SOURCE -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
SAN_thread  := -O1 -U_FORTIFY_SOURCE -fno-omit-frame-pointer -fsanitize=thread
SAN_fuzz    := -O1 -U_FORTIFY_SOURCE -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
try      = $(shell $(CC) -Werror $1 -xc -c /dev/null -o /dev/null 2>/dev/null && echo "$1")
WARN    := -Wall -Wextra -Wformat=2 -Wconversion -Wimplicit-fallthrough $(call try,-Wtrampolines -Wbidi-chars=any) -Werror=format-security -Werror=implicit -Werror=incompatible-pointer-types -Werror=int-conversion $(if $(CI),-Werror)
HARDEN  := -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection $(call try,-fcf-protection=full) $(call try,-ftrivial-auto-var-init=zero) -fno-delete-null-pointer-checks -fno-strict-overflow -fno-strict-aliasing -fexceptions
INCLUDE  = -Icsrc $(if $(LUA_INCDIR),-I$(LUA_INCDIR),$(shell pkg-config --cflags lua5.4)) $(addprefix -I,$(LIBEV_INCDIR) $(LIBCURL_INCDIR) $(SQLITE_INCDIR) $(OPENSSL_INCDIR) $(ZLIB_INCDIR) $(ZSTD_INCDIR))
COMPILE  = $(CC) $(CFLAGS) -std=gnu11 -D_GNU_SOURCE -fPIC -fvisibility=hidden -pthread $(WARN) $(HARDEN) $(SAN_$(SAN)) $(INCLUDE) -MMD -MP
# -z nodelete: a thread's code must outlive lua_close. No liblua: the interpreter brings its own.
LINK     = $(CC) -shared -pthread -Wl,-z,relro,-z,now,-z,noexecstack,-z,nodelete -Wl,--as-needed -Wl,--no-copy-dt-needed-entries $(LDFLAGS) $(SAN_$(SAN)) -o $@.new $^ $(addprefix -L,$(LIBEV_LIBDIR) $(LIBCURL_LIBDIR) $(SQLITE_LIBDIR) $(OPENSSL_LIBDIR) $(ZLIB_LIBDIR) $(ZSTD_LIBDIR)) $(LIBS) && mv $@.new $@
RUN      = SLUICE_BUILD=$(B) $(if $(PRELOAD),SLUICE_PRELOAD=$(shell $(CC) -print-file-name=$(PRELOAD))) .ci/lua
.PHONY: help all core run react cluster screenshots docs test test-full check asan tsan fuzz bench compare format version install install-lua clean
all: core $(MODULES) build/bin/sluice build/npm/README.md ; @:
core: $(B)/sluice/core.so
help: ; @sed -n "s/^# \{0,1\}//p;/^SAN/q" Makefile
run: ; @.ci/setup run && $(MAKE) all && exec build/bin/sluice demo --host $(or $(HOST),127.0.0.1) --port $(PORT)
react cluster: ; @.ci/setup $@ && $(MAKE) all && exec .ci/$@ $(PORT) $(or $(HTTPS_PORT),5443)
screenshots: ; @.ci/setup screenshots && $(MAKE) all && node .ci/screenshots.mjs $(PAGES)
docs: ; @.ci/setup docs && $(LUA) .ci/docs/build.lua
test: ; @.ci/setup test $(SPEC) && $(MAKE) all && $(RUN) spec/run.lua $(SPEC)
test-full: ; @SLUICE_SPEC_FULL=1 $(MAKE) test
asan tsan: ; @$(MAKE) test SAN=$(if $(filter asan,$@),address,thread)
version: ; @.ci/version $(VERSION)
check: ; @.ci/setup check && $(MAKE) all && LUA=$(LUA) CC=$(CC) .ci/check
bench: ; @.ci/setup bench && $(MAKE) all && $(LUA) spec/bench/run.lua $(BENCH)
compare: ; @.ci/setup bench && $(MAKE) all && $(LUA) spec/bench/compare/run.lua $(COMPARE)
fuzz: ; @.ci/setup fuzz && $(MAKE) SAN=fuzz CC=clang $(FUZZERS:$(B)/%=build/fuzz/%) && .ci/fuzz $(or $(FUZZ_SECONDS),20)
format: ; clang-format -i $(wildcard csrc/*/*.[ch] csrc/*/*/*.[ch] spec/*/*.[ch])
clean: ; rm -rf $(filter-out $(addprefix build/,node nchan nginx openresty haproxy exim4 promtool varnishd caddy apache2 lighttpd squid stunnel4 redis-server postgres),$(wildcard build/*))
install: install-lua ; B=$(B) .ci/install "$(LUA)" "$(INST_LUADIR)" "$(INST_LIBDIR)" "$(PREFIX)" "$(DESTDIR)"
INST_LUADIR ?= $(PREFIX)/share/lua/5.4
INST_LIBDIR ?= $(PREFIX)/lib/lua/5.4
install-lua: core
	install -D -m 755 $(B)/sluice/core.so "$(DESTDIR)$(INST_LIBDIR)/sluice/core.so"
	{ find lua -type f; find -L $(addprefix examples/,showcase look dashboard notifications progress match stocks devices editor monitoring chat alerts triggers templates) -type f ! -name '*.png'; } | while read -r f; do \
	  case $$f in lua/*) to=$${f#lua/} ;; *) to=sluice/$$f ;; esac; install -D -m 644 $$f "$(DESTDIR)$(INST_LUADIR)/$$to" || exit 1; done
$(B)/sluice/core.so: $(OBJ) ; $(Q)mkdir -p $(@D) && echo "  link  $@" && $(LINK)
$(B)/sluice/core/%.so: $(B)/obj/bind/%.o $(PLAIN) $(B)/obj/bind/l_aux.o ; $(Q)mkdir -p $(@D) && echo "  link  $@" && $(LINK)
$(B)/sluice/core/testing.so: $(SIM:csrc/%.c=$(B)/obj/%.o)
$(B)/obj/%.o: csrc/%.c Makefile | $(B)/libraries-$(URING)$(HIREDIS)$(NGHTTP2) ; $(Q)mkdir -p $(@D) && echo "  cc    $<" && $(COMPILE) -c -o $@ $<
$(B)/obj/net/ring.o $(B)/obj/cluster/resp.o $(B)/obj/net/h2.o $(B)/obj/net/h2_none.o $(B)/obj/bind/build.o: INCLUDE += $(if $(filter yes,$(URING)),-DHAVE_LIBURING -DLIBURING_VERSION='"$(shell pkg-config --modversion liburing)"') $(if $(filter yes,$(HIREDIS)),-DHAVE_HIREDIS) $(if $(filter yes,$(NGHTTP2)),-DHAVE_NGHTTP2)
$(B)/obj/net/ring.o $(B)/obj/cluster/resp.o $(B)/obj/net/h2.o $(B)/obj/net/h2_none.o $(B)/obj/bind/build.o: $(B)/libraries-$(URING)$(HIREDIS)$(NGHTTP2)
$(B)/libraries-%: ; $(Q).ci/libraries $(CC) $(INCLUDE) && mkdir -p $(@D) && rm -f $(B)/libraries-* && touch $@
$(B)/%_fuzz: spec/fuzz/%_fuzz.c $(PLAIN) ; $(Q)echo "  link  $@" && $(COMPILE) -fsanitize=fuzzer -o $@ $^ $(LIBS)
build/npm/README.md: .ci/npm doc/browser.md $(wildcard lua/sluice/browser/*) ; $(Q).ci/npm $(@D)
build/bin/sluice: .ci/sluice ; @install -D -m 755 $< $@
.SECONDARY: $(TESTING:csrc/%.c=$(B)/obj/%.o)
-include $(wildcard $(B)/obj/*/*.d $(B)/obj/*/*/*.d)
