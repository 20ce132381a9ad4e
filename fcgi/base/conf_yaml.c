/* SPDX-License-Identifier: MIT
 * The configuration file, and single values of the environment, as YAML. */
#include "base/buffer.h"
#include "base/conf_settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <yaml.h>

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
static bool find(yaml_document_t *doc, const char *path, struct conf_origin *origin,
                 const struct conf_report *report, yaml_node_t **found)
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
            return conf_fail(report, origin, parent,
                             "expected a section with keys of its own; found %s",
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

static bool load_key(struct conf *conf, yaml_document_t *doc, const struct conf_setting *setting,
                     const struct conf_report *report)
{
    struct conf_origin origin = {.file = conf->file};
    yaml_node_t *node;
    if (!find(doc, setting->path, &origin, report, &node))
        return false;
    if (!node)
        return true;
    if (node->type != YAML_SCALAR_NODE)
        return conf_fail(report, &origin, setting->path, "expected a single value; found a %s",
                         node->type == YAML_MAPPING_NODE ? "section" : "list");
    if (strlen(scalar(node)) != node->data.scalar.length)
        return conf_fail(report, &origin, setting->path, "expected text; found a zero byte in it");
    return conf_set(conf, setting, scalar(node), &origin, report);
}

static bool fail_own_key(const struct conf_report *report, const struct conf_origin *origin,
                         const char *path)
{
    static const char section[] = "fcgi.";
    char place[256];
    struct buffer keys = buffer_fixed(place, sizeof place);
    for (size_t i = 0; i < conf_setting_count; i++) {
        if (strncmp(conf_settings[i].path, section, strlen(section)) != 0)
            continue;
        if (keys.len > 0)
            buffer_string(&keys, ", ");
        buffer_string(&keys, conf_settings[i].path + strlen(section));
    }
    return conf_fail(report, origin, path, "unknown key; fcgi takes %s", buffer_text(&keys));
}

/* Reports an unknown key under fcgi: a typing error there would silently leave the default. */
static bool check_own_keys(struct conf *conf, yaml_document_t *doc,
                           const struct conf_report *report)
{
    struct conf_origin origin = {.file = conf->file};
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
        while (i < conf_setting_count && strcmp(conf_settings[i].path, path) != 0)
            i++;
        origin.line = name->start_mark.line + 1;
        if (i == conf_setting_count && strcmp(path, "fcgi.<<") != 0)
            return fail_own_key(report, &origin, path);
    }
    return true;
}

/* Reports a mapping that gives one key twice: one of the two would be ignored. */
static bool check_mapping(const struct conf *conf, yaml_document_t *doc, const yaml_node_t *map,
                          const struct conf_report *report)
{
    const yaml_node_pair_t *pairs = map->data.mapping.pairs.start;
    for (const yaml_node_pair_t *pair = pairs; pair < map->data.mapping.pairs.top; pair++) {
        const yaml_node_t *key = yaml_document_get_node(doc, pair->key);
        for (const yaml_node_pair_t *other = pairs; other < pair; other++) {
            const yaml_node_t *first = yaml_document_get_node(doc, other->key);
            if (key->type != YAML_SCALAR_NODE || first->type != YAML_SCALAR_NODE ||
                strcmp(scalar(key), scalar(first)) != 0)
                continue;
            const struct conf_origin origin = {.file = conf->file,
                                               .line = key->start_mark.line + 1};
            return conf_fail(report, &origin, scalar(key),
                             "the key stands twice, first on line %zu; remove one of the two",
                             first->start_mark.line + 1);
        }
    }
    return true;
}

/* The nodes stand in a flat list, so aliases that form a cycle do no harm. */
static bool check_duplicates(const struct conf *conf, yaml_document_t *doc,
                             const struct conf_report *report)
{
    for (const yaml_node_t *node = doc->nodes.start; node < doc->nodes.top; node++) {
        if (node->type == YAML_MAPPING_NODE && !check_mapping(conf, doc, node, report))
            return false;
    }
    return true;
}

static bool load_document(struct conf *conf, yaml_document_t *doc, const struct conf_report *report)
{
    if (!check_duplicates(conf, doc, report))
        return false;
    for (size_t i = 0; i < conf_setting_count; i++) {
        if (!load_key(conf, doc, &conf_settings[i], report))
            return false;
    }
    return check_own_keys(conf, doc, report);
}

/* Loads the only document of `parser`, which has its input. */
static bool parse_file(struct conf *conf, yaml_parser_t *parser, const struct conf_report *report)
{
    yaml_document_t doc;
    if (!yaml_parser_load(parser, &doc)) {
        if (parser->error == YAML_MEMORY_ERROR)
            snprintf(report->why, report->size, "%s: out of memory", conf->file);
        else
            snprintf(report->why, report->size, "%s:%zu: not valid YAML: %s", conf->file,
                     parser->problem_mark.line + 1,
                     parser->problem ? parser->problem : "unreadable");
        return false;
    }
    bool loaded = load_document(conf, &doc, report);
    yaml_document_delete(&doc);
    return loaded;
}

/* The file, open for reading; NULL with a report where it is none. */
static FILE *open_file(const struct conf *conf, const struct conf_report *report)
{
    struct stat status;
    FILE *file = fopen(conf->file, "re");
    if (file && fstat(fileno(file), &status) == 0 && !S_ISDIR(status.st_mode))
        return file;
    snprintf(report->why, report->size, "%s: cannot be read: %s; name a readable file with -c",
             conf->file, strerror(file ? EISDIR : errno));
    if (file)
        fclose(file);
    return NULL;
}

bool conf_read_file(struct conf *conf, const struct conf_report *report)
{
    yaml_parser_t parser;
    bool loaded = false;
    FILE *file = open_file(conf, report);
    if (!file)
        return false;
    if (!yaml_parser_initialize(&parser)) {
        snprintf(report->why, report->size, "%s: out of memory", conf->file);
    } else {
        yaml_parser_set_input_file(&parser, file);
        loaded = parse_file(conf, &parser, report);
        yaml_parser_delete(&parser);
    }
    fclose(file);
    return loaded;
}

/* The text without the newlines that end a secret read from a file; NULL: out of memory. */
static char *copy_literal(const char *text)
{
    size_t len = strlen(text);
    while (len > 0 && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        len--;
    return strndup(text, len);
}

bool conf_read_scalar(const char *text, char **value)
{
    yaml_parser_t parser;
    yaml_document_t doc;
    const yaml_node_t *root = NULL;
    if (!yaml_parser_initialize(&parser))
        return false;
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, strlen(text));
    bool loaded = yaml_parser_load(&parser, &doc);
    bool no_memory = !loaded && parser.error == YAML_MEMORY_ERROR;
    bool is_null_value = false;
    *value = NULL;
    if (loaded) {
        root = yaml_document_get_root_node(&doc);
        is_null_value = !root || is_null(root);
        if (root && root->type == YAML_SCALAR_NODE && !is_null_value &&
            strlen(scalar(root)) == root->data.scalar.length)
            *value = strdup(scalar(root));
        else if (!is_null_value)
            *value = copy_literal(text);
        yaml_document_delete(&doc);
    } else if (!no_memory) {
        *value = copy_literal(text);
    }
    yaml_parser_delete(&parser);
    return is_null_value || *value;
}
