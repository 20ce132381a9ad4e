/* SPDX-License-Identifier: MIT
 * The configuration: one table of keys, read from YAML and the environment. */
#include "base/conf.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

/* ---- the keys ---- */

enum type {
    STRING,   /* char * */
    INTEGER,  /* int64_t, from min to max */
    OCTAL,    /* int64_t, likewise */
    BOOLEAN,  /* bool */
    DURATION, /* int64_t in milliseconds, from min to max; Go's spelling */
    CHOICE,   /* int64_t: the index in choices */
};

struct key {
    const char *path; /* dotted */
    enum type type;
    size_t offset;
    const char *fallback; /* taken where the key is not given; NULL: nothing */
    bool required;
    int64_t min;
    int64_t max;
    const char *choices[8];
};

#define AT(member) offsetof(struct conf, member)
#define SECONDS    INT64_C(1000)
#define HOURS      (3600 * SECONDS)

static const struct key keys[] = {
    {.path = "log.level",
     .type = CHOICE,
     .offset = AT(log_level),
     .fallback = "info",
     .choices = {"debug", "info", "warn", "error"}},
    {.path = "log.formatter",
     .type = CHOICE,
     .offset = AT(log_format),
     .fallback = "json",
     .choices = {"text", "json"}},

    {.path = "database.host", .type = STRING, .offset = AT(database.host), .required = true},
    {.path = "database.port",
     .type = INTEGER,
     .offset = AT(database.port),
     .fallback = "5432",
     .min = 1,
     .max = 65535},
    {.path = "database.user", .type = STRING, .offset = AT(database.user), .required = true},
    {.path = "database.password", .type = STRING, .offset = AT(database.password)},
    {.path = "database.dbname", .type = STRING, .offset = AT(database.dbname), .required = true},
    {.path = "database.sslmode",
     .type = STRING,
     .offset = AT(database.sslmode),
     .fallback = "prefer",
     .choices = {"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}},
    {.path = "database.sslcert", .type = STRING, .offset = AT(database.sslcert)},
    {.path = "database.sslkey", .type = STRING, .offset = AT(database.sslkey)},
    {.path = "database.sslrootcert", .type = STRING, .offset = AT(database.sslrootcert)},
    {.path = "database.connecttimeout",
     .type = DURATION,
     .offset = AT(database.connect_timeout_ms),
     .fallback = "5s",
     .max = HOURS},
    {.path = "database.primary", .type = STRING, .offset = AT(database.primary)},

    {.path = "auth.token.realm", .type = STRING, .offset = AT(token.realm), .required = true},
    {.path = "auth.token.service", .type = STRING, .offset = AT(token.service), .required = true},
    {.path = "auth.token.issuer", .type = STRING, .offset = AT(token.issuer), .required = true},
    {.path = "auth.token.rootcertbundle",
     .type = STRING,
     .offset = AT(token.rootcertbundle),
     .required = true},
    {.path = "auth.token.autoredirect",
     .type = BOOLEAN,
     .offset = AT(token.autoredirect),
     .fallback = "false"},

    {.path = "http.prefix", .type = STRING, .offset = AT(http_prefix), .fallback = ""},

    {.path = "fcgi.listen", .type = STRING, .offset = AT(fcgi.listen)},
    {.path = "fcgi.mode", .type = OCTAL, .offset = AT(fcgi.mode), .fallback = "0660", .max = 0777},
    {.path = "fcgi.group", .type = STRING, .offset = AT(fcgi.group)},
    {.path = "fcgi.threads",
     .type = INTEGER,
     .offset = AT(fcgi.threads),
     .fallback = "8",
     .min = 1,
     .max = 256},
    {.path = "fcgi.connections",
     .type = INTEGER,
     .offset = AT(fcgi.connections),
     .fallback = "1024",
     .min = 1,
     .max = 65536},
    {.path = "fcgi.timeout",
     .type = DURATION,
     .offset = AT(fcgi.timeout_ms),
     .fallback = "10s",
     .min = 100,
     .max = HOURS},
    {.path = "fcgi.queuetimeout",
     .type = DURATION,
     .offset = AT(fcgi.queue_timeout_ms),
     .fallback = "1s",
     .min = 100,
     .max = HOURS},
    {.path = "fcgi.readtimeout",
     .type = DURATION,
     .offset = AT(fcgi.read_timeout_ms),
     .fallback = "10s",
     .min = 100,
     .max = HOURS},
    {.path = "fcgi.idletimeout",
     .type = DURATION,
     .offset = AT(fcgi.idle_timeout_ms),
     .fallback = "5m",
     .min = 100,
     .max = 24 * HOURS},
    {.path = "fcgi.draintimeout",
     .type = DURATION,
     .offset = AT(fcgi.drain_timeout_ms),
     .fallback = "10s",
     .min = 0,
     .max = HOURS},
    {.path = "fcgi.recount",
     .type = DURATION,
     .offset = AT(fcgi.recount_ms),
     .fallback = "10m",
     .min = 100,
     .max = 24 * HOURS},
    {.path = "fcgi.challenge",
     .type = CHOICE,
     .offset = AT(fcgi.challenge_all),
     .fallback = "action",
     .choices = {"action", "*"}},
};

#define KEY_COUNT (sizeof keys / sizeof keys[0])

/* Where a value came from, for messages; line 0: not from the file. */
struct origin {
    const char *file;
    size_t line;
    char variable[96];
};

struct report {
    char *why;
    size_t size;
};

/* Says what is wrong with `path`, and returns false. */
static bool fail(const struct report *report, const struct origin *origin, const char *path,
                 const char *fmt, ...) __attribute__((format(printf, 4, 5)));

static bool fail(const struct report *report, const struct origin *origin, const char *path,
                 const char *fmt, ...)
{
    char what[384];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    if (origin->variable[0])
        snprintf(report->why, report->size, "%s: %s (from the environment, %s): %s", origin->file,
                 path, origin->variable, what);
    else if (origin->line)
        snprintf(report->why, report->size, "%s:%zu: %s: %s", origin->file, origin->line, path,
                 what);
    else
        snprintf(report->why, report->size, "%s: %s: %s", origin->file, path, what);
    /* What was found may hold anything; the message stays one line. */
    for (char *p = report->why; *p; p++)
        *p = (char)(iscntrl((unsigned char)*p) ? '?' : *p);
    return false;
}

/* ---- one value ---- */

/* A Go duration (time.ParseDuration): numbers with units, "1m30s", or a bare 0. */
static bool parse_duration(const char *s, int64_t *ms)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"ns", 1e-6}, {"us", 1e-3},    {"\xC2\xB5s", 1e-3}, {"ms", 1},
                 {"s", 1e3},   {"m", 60 * 1e3}, {"h", 3600 * 1e3}};
    double total = 0;
    if (strcmp(s, "0") == 0) {
        *ms = 0;
        return true;
    }
    if (*s == '\0')
        return false;
    while (*s) {
        char *end;
        /* Digits with one point at the most; strtod alone would take 0x1 and 1e3 too. */
        size_t digits = strspn(s, "0123456789");
        size_t decimals = s[digits] == '.' ? strspn(s + digits + 1, "0123456789") : 0;
        if (digits + decimals == 0)
            return false;
        double number = strtod(s, &end);
        if (end != s + digits + (s[digits] == '.') + decimals)
            return false;
        size_t len = strcspn(end, "0123456789.");
        size_t i = 0;
        while (i < sizeof units / sizeof units[0] &&
               !(strlen(units[i].name) == len && strncmp(units[i].name, end, len) == 0))
            i++;
        if (i == sizeof units / sizeof units[0])
            return false;
        total += number * units[i].ms;
        s = end + len;
    }
    if (total > 1e15)
        return false;
    *ms = (int64_t)total;
    return true;
}

static bool parse_boolean(const char *s, bool *value)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcasecmp(s, words[i]) == 0) {
            *value = i % 2 == 1;
            return true;
        }
    }
    return false;
}

static bool parse_integer(const char *s, int base, int64_t *value)
{
    char *end;
    errno = 0;
    long long number = strtoll(s, &end, base);
    if (end == s || *end || errno || isspace((unsigned char)*s))
        return false;
    *value = number;
    return true;
}

/* The index of `s` among the key's choices; -1: none of them. */
static int choice_of(const struct key *key, const char *s)
{
    for (int i = 0; i < 8 && key->choices[i]; i++) {
        if (strcmp(key->choices[i], s) == 0)
            return i;
    }
    return -1;
}

static bool fail_choice(const struct key *key, const struct origin *origin,
                        const struct report *report, const char *s)
{
    char list[160] = "";
    for (int i = 0; i < 8 && key->choices[i]; i++) {
        size_t len = strlen(list);
        snprintf(list + len, sizeof list - len, "%s%s", i ? ", " : "", key->choices[i]);
    }
    return fail(report, origin, key->path, "expected one of %s; found \"%.64s\"", list, s);
}

static bool set_string(char **slot, const char *s)
{
    free(*slot);
    *slot = strdup(s);
    return *slot != NULL;
}

/* Stores `s` in the configuration as the key's type wants it. */
static bool set_value(struct conf *conf, const struct key *key, const char *s,
                      const struct origin *origin, const struct report *report)
{
    void *slot = (char *)conf + key->offset;
    int64_t number = 0;

    switch (key->type) {
    case STRING:
        if (key->choices[0] && choice_of(key, s) < 0)
            return fail_choice(key, origin, report, s);
        return set_string(slot, s) || fail(report, origin, key->path, "out of memory");
    case BOOLEAN:
        return parse_boolean(s, slot) ||
               fail(report, origin, key->path, "expected true or false; found \"%.64s\"", s);
    case CHOICE:
        number = choice_of(key, s);
        if (number < 0)
            return fail_choice(key, origin, report, s);
        break;
    case INTEGER:
        if (!parse_integer(s, 10, &number) || number < key->min || number > key->max)
            return fail(report, origin, key->path,
                        "expected a whole number from %lld to %lld; found \"%.64s\"",
                        (long long)key->min, (long long)key->max, s);
        break;
    case OCTAL:
        if (!parse_integer(s, 8, &number) || number < key->min || number > key->max)
            return fail(report, origin, key->path,
                        "expected a file mode in octal, such as \"0660\"; found \"%.64s\"", s);
        break;
    case DURATION:
        if (!parse_duration(s, &number) || number < key->min || number > key->max)
            return fail(report, origin, key->path,
                        "expected a duration such as \"5s\" or \"1m30s\", from %lldms to %lldh; "
                        "found \"%.64s\"",
                        (long long)key->min, (long long)(key->max / HOURS), s);
        break;
    }
    *(int64_t *)slot = number;
    return true;
}

/* ---- YAML ---- */

static const char *scalar(const yaml_node_t *node)
{
    return (const char *)node->data.scalar.value;
}

static yaml_node_t *lookup(yaml_document_t *doc, const yaml_node_t *map, const char *name,
                           size_t len, int depth);

/* The same through a merge key, whose value is a mapping or a list of mappings; the first
 * that has the name counts. */
static yaml_node_t *lookup_merged(yaml_document_t *doc, const yaml_node_t *merged, const char *name,
                                  size_t len, int depth)
{
    yaml_node_t *found = NULL;
    if (!merged || merged->type != YAML_SEQUENCE_NODE)
        return lookup(doc, merged, name, len, depth);
    for (yaml_node_item_t *item = merged->data.sequence.items.start;
         !found && item < merged->data.sequence.items.top; item++)
        found = lookup(doc, yaml_document_get_node(doc, *item), name, len, depth);
    return found;
}

/* The value under `name` in a mapping; a merge key (`<<: *other`) is looked through
 * where the mapping itself has none. NULL: not there. */
static yaml_node_t *lookup(yaml_document_t *doc, const yaml_node_t *map, const char *name,
                           size_t len, int depth)
{
    yaml_node_t *merged = NULL;
    if (!map || map->type != YAML_MAPPING_NODE || depth > 8)
        return NULL;
    for (yaml_node_pair_t *pair = map->data.mapping.pairs.start; pair < map->data.mapping.pairs.top;
         pair++) {
        yaml_node_t *key = yaml_document_get_node(doc, pair->key);
        if (!key || key->type != YAML_SCALAR_NODE)
            continue;
        if (strlen(scalar(key)) == len && strncmp(scalar(key), name, len) == 0)
            return yaml_document_get_node(doc, pair->value);
        if (strcmp(scalar(key), "<<") == 0)
            merged = yaml_document_get_node(doc, pair->value);
    }
    return merged ? lookup_merged(doc, merged, name, len, depth + 1) : NULL;
}

/* True where a node stands for "no value": empty, ~ or null, unquoted. */
static bool is_null(const yaml_node_t *node)
{
    if (node->type != YAML_SCALAR_NODE || node->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    const char *s = scalar(node);
    return *s == '\0' || strcmp(s, "~") == 0 || strcasecmp(s, "null") == 0;
}

/* Walks a dotted path; false only where something on the way has the wrong shape. */
static bool find(yaml_document_t *doc, const char *path, struct origin *origin,
                 const struct report *report, yaml_node_t **found)
{
    yaml_node_t *node = yaml_document_get_root_node(doc);
    const char *rest = path;
    *found = NULL;
    while (node && *rest) {
        size_t len = strcspn(rest, ".");
        if (is_null(node))
            return true;
        origin->line = node->start_mark.line + 1;
        if (node->type != YAML_MAPPING_NODE) {
            char parent[96] = "the file";
            if (rest > path)
                snprintf(parent, sizeof parent, "%.*s", (int)(rest - path - 1), path);
            return fail(report, origin, parent, "expected a section with keys of its own; found %s",
                        node->type == YAML_SCALAR_NODE ? "a single value" : "a list");
        }
        node = lookup(doc, node, rest, len, 0);
        rest += len + (rest[len] == '.');
    }
    if (node && !is_null(node)) {
        origin->line = node->start_mark.line + 1;
        *found = node;
    }
    return true;
}

static bool load_key(struct conf *conf, yaml_document_t *doc, const struct key *key,
                     const struct report *report)
{
    struct origin origin = {.file = conf->file};
    yaml_node_t *node;
    if (!find(doc, key->path, &origin, report, &node))
        return false;
    if (!node)
        return true;
    if (node->type != YAML_SCALAR_NODE)
        return fail(report, &origin, key->path, "expected a single value; found a %s",
                    node->type == YAML_MAPPING_NODE ? "section" : "list");
    if (strlen(scalar(node)) != node->data.scalar.length)
        return fail(report, &origin, key->path, "expected text; found a zero byte in it");
    return set_value(conf, key, scalar(node), &origin, report);
}

/* Keys that are nobody's but ours must be ones we know: a typo there would otherwise
 * pass for the default. */
static bool check_own_keys(struct conf *conf, yaml_document_t *doc, const struct report *report)
{
    struct origin origin = {.file = conf->file};
    yaml_node_t *own;
    if (!find(doc, "fcgi", &origin, report, &own) || !own)
        return !report->why[0];
    for (yaml_node_pair_t *pair = own->data.mapping.pairs.start;
         own->type == YAML_MAPPING_NODE && pair < own->data.mapping.pairs.top; pair++) {
        const yaml_node_t *name = yaml_document_get_node(doc, pair->key);
        char path[96] = "fcgi.";
        size_t i = 0;
        if (name->type == YAML_SCALAR_NODE)
            snprintf(path, sizeof path, "fcgi.%.64s", scalar(name));
        while (i < KEY_COUNT && strcmp(keys[i].path, path) != 0)
            i++;
        origin.line = name->start_mark.line + 1;
        if (i == KEY_COUNT && strcmp(path, "fcgi.<<") != 0)
            return fail(report, &origin, path,
                        "unknown key; fcgi takes listen, mode, group, threads, connections, "
                        "timeout, queuetimeout, readtimeout, idletimeout, draintimeout, "
                        "recount, challenge");
    }
    return true;
}

static bool load_document(struct conf *conf, yaml_document_t *doc, const struct report *report)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (!load_key(conf, doc, &keys[i], report))
            return false;
    }
    return check_own_keys(conf, doc, report);
}

static bool load_file(struct conf *conf, const struct report *report)
{
    yaml_parser_t parser;
    yaml_document_t doc;
    bool loaded = false;
    FILE *file = fopen(conf->file, "re");
    if (!file) {
        snprintf(report->why, report->size, "%s: cannot be read: %s; name a readable file with -c",
                 conf->file, strerror(errno));
        return false;
    }
    if (!yaml_parser_initialize(&parser)) {
        snprintf(report->why, report->size, "%s: out of memory", conf->file);
        fclose(file);
        return false;
    }
    yaml_parser_set_input_file(&parser, file);
    if (!yaml_parser_load(&parser, &doc)) {
        if (parser.error == YAML_MEMORY_ERROR)
            snprintf(report->why, report->size, "%s: out of memory", conf->file);
        else
            snprintf(report->why, report->size, "%s:%zu: not valid YAML: %s", conf->file,
                     parser.problem_mark.line + 1, parser.problem ? parser.problem : "unreadable");
    } else {
        loaded = load_document(conf, &doc, report);
        yaml_document_delete(&doc);
    }
    yaml_parser_delete(&parser);
    fclose(file);
    return loaded;
}

/* ---- environment and defaults ---- */

/* REGISTRY_DATABASE_HOST for database.host, as distribution derives the names. */
static void variable_of(const char *path, char *out, size_t size)
{
    snprintf(out, size, "REGISTRY_%s", path);
    for (char *p = out; *p; p++)
        *p = (char)(*p == '.' ? '_' : toupper((unsigned char)*p));
}

/* A set but empty variable counts as not set, as an orchestrator's blank leaves it. */
static bool load_environment(struct conf *conf, char *const *environment,
                             const struct report *report)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        struct origin origin = {.file = conf->file};
        variable_of(keys[i].path, origin.variable, sizeof origin.variable);
        size_t len = strlen(origin.variable);
        for (char *const *e = environment; e && *e; e++) {
            if (strncmp(*e, origin.variable, len) == 0 && (*e)[len] == '=' && (*e)[len + 1] &&
                !set_value(conf, &keys[i], *e + len + 1, &origin, report))
                return false;
        }
    }
    return true;
}

static bool set_defaults(struct conf *conf, const struct report *report)
{
    struct origin origin = {.file = conf->file};
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (keys[i].fallback && !set_value(conf, &keys[i], keys[i].fallback, &origin, report))
            return false;
    }
    return true;
}

/* What one key alone cannot tell: that the required ones were given. */
static bool check_required(struct conf *conf, const struct report *report)
{
    struct origin origin = {.file = conf->file};
    for (size_t i = 0; i < KEY_COUNT; i++) {
        char variable[96];
        if (keys[i].required) {
            char *const *slot = (char *const *)((const char *)conf + keys[i].offset);
            variable_of(keys[i].path, variable, sizeof variable);
            if (!*slot || !**slot)
                return fail(report, &origin, keys[i].path,
                            "missing; set it in the file or as %s in the environment", variable);
        }
    }
    return true;
}

/* "/registry/" and "registry" alike become "/registry". */
static bool normalise_prefix(struct conf *conf)
{
    const char *start = conf->http_prefix + strspn(conf->http_prefix, "/");
    size_t len = strlen(start);
    while (len > 0 && start[len - 1] == '/')
        len--;
    char *clean = malloc(len + 2);
    if (!clean)
        return false;
    snprintf(clean, len + 2, "%s%.*s", len ? "/" : "", (int)len, start);
    free(conf->http_prefix);
    conf->http_prefix = clean;
    return true;
}

bool conf_load(struct conf *conf, const char *file, char *const *environment, char *why,
               size_t why_size)
{
    struct report report = {why, why_size};
    *conf = (struct conf){0};
    why[0] = '\0';
    if (set_string(&conf->file, file) && set_defaults(conf, &report) && load_file(conf, &report) &&
        load_environment(conf, environment, &report) && check_required(conf, &report) &&
        normalise_prefix(conf)) {
        conf->database.timeout_ms = conf->fcgi.timeout_ms;
        return true;
    }
    if (!why[0])
        snprintf(why, why_size, "%s: out of memory", file);
    return false;
}

void conf_free(struct conf *conf)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (keys[i].type == STRING)
            free(*(char **)((char *)conf + keys[i].offset));
    }
    free(conf->file);
    *conf = (struct conf){0};
}
