# Makes C of the statements: the text without comments, psql's :name variables turned into the
# protocol's $1, $2, … in the order in which they first appear, and these positions as an enum.
#   awk -v header=sql_statements.h -f sql/embed.awk sql/*.sql > sql_statements.c
#
# psql's \set makes a constant that SQL and C share: in sql/jobs.sql, SQL_JOBS_MAX.
#
# sql/pause.sql becomes SQL_PAUSE, its :id SQL_PAUSE_ID, the number of its parameters
# SQL_PAUSE_PARAMS. The name under which it is prepared ends in a digest of the text: behind a pooler, a
# statement of that name may be there that another version of the program has prepared.
BEGIN {
    for (i = 1; i < 256; i++)
        code[sprintf("%c", i)] = i
    note = "/* Made by sql/embed.awk from sql/ *.sql; not to be edited. */"
    print note "\n#include \"store/sql.h\""
    print note > header
}
FNR == 1 {
    if (NR > 1)
        finish()
    name = FILENAME
    sub(/.*\//, "", name)
    sub(/\.sql$/, "", name)
    print "\nconst struct sql SQL_" toupper(name) " = {"
    print "    .text ="
    digest = 0
    split("", number)
    split("", constant)
    constants = ""
    never = 0
    count = 0
}
/^-- Never prepared/ { never = 1 }
/^[ \t]*--/ || /^[ \t]*$/ { next }
/^\\set / {
    constant[":" $2] = $3
    constants = constants "    SQL_" toupper(name) "_" toupper($2) " = " $3 ",\n"
    next
}
{
    rest = $0
    line = ""
    while (match(rest, /::?[a-z_]+/)) {
        word = substr(rest, RSTART, RLENGTH)
        line = line substr(rest, 1, RSTART - 1)
        rest = substr(rest, RSTART + RLENGTH)
        if (word in constant) {
            word = constant[word]
        } else if (substr(word, 1, 2) != "::") {
            if (!(word in number)) {
                number[word] = ++count
                names[count] = substr(word, 2)
            }
            word = "$" number[word]
        }
        line = line word
    }
    line = line rest
    for (i = 1; i <= length(line); i++)
        digest = (digest * 257 + code[substr(line, i, 1)]) % 1000000000039
    gsub(/\\/, "\\\\", line)
    gsub(/"/, "\\\"", line)
    print "        \"" line "\\n\""
}
END {
    finish()
    print "\nenum {\n    SQL_STATEMENTS = " statements "\n};" > header
}

function finish(  i) {
    print "    ,"
    if (!never)
        print "    .name = \"bbm_fcgi_" name "_" sprintf("%.0f", digest) "\","
    print "    .params = SQL_" toupper(name) "_PARAMS,\n    .number = " statements++ ",\n};"
    print "\nextern const struct sql SQL_" toupper(name) ";\nenum {" > header
    for (i = 1; i <= count; i++)
        print "    SQL_" toupper(name) "_" toupper(names[i]) "," > header
    print "    SQL_" toupper(name) "_PARAMS\n};" > header
    if (constants != "")
        print "enum {\n" constants "};" > header
}
