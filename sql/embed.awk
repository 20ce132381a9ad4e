# Makes C of the statements: the text without comments, psql's :name variables turned into the
# protocol's $1, $2, … in the order in which they first appear, and these positions as an enum.
#   awk -v header=sql_statements.h -f sql/embed.awk sql/*.sql > sql_statements.c
#
# sql/pause.sql becomes SQL_PAUSE, its :id SQL_PAUSE_ID, the number of its parameters
# SQL_PAUSE_PARAMS.
BEGIN {
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
    print "    .name = \"bbm_fcgi_" name "\","
    print "    .text ="
    split("", number)
    count = 0
}
/^[ \t]*--/ || /^[ \t]*$/ { next }
{
    rest = $0
    line = ""
    while (match(rest, /::?[a-z_]+/)) {
        word = substr(rest, RSTART, RLENGTH)
        line = line substr(rest, 1, RSTART - 1)
        rest = substr(rest, RSTART + RLENGTH)
        if (substr(word, 1, 2) != "::") {
            if (!(word in number)) {
                number[word] = ++count
                names[count] = substr(word, 2)
            }
            word = "$" number[word]
        }
        line = line word
    }
    line = line rest
    gsub(/\\/, "\\\\", line)
    gsub(/"/, "\\\"", line)
    print "        \"" line "\\n\""
}
END { finish() }

function finish(  i) {
    print "    ,\n    .params = SQL_" toupper(name) "_PARAMS,\n};"
    print "\nextern const struct sql SQL_" toupper(name) ";\nenum {" > header
    for (i = 1; i <= count; i++)
        print "    SQL_" toupper(name) "_" toupper(names[i]) "," > header
    print "    SQL_" toupper(name) "_PARAMS\n};" > header
}
