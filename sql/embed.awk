# Makes sql.c from the statements: comments dropped, psql's :name variables turned into
# the protocol's $1, $2, … in the order in which they first appear.
BEGIN {
    print "/* Made by sql/embed.awk from sql/ *.sql; not to be edited. */"
    print "#include \"store/sql.h\""
}
FNR == 1 {
    if (NR > 1)
        print "    ;"
    name = FILENAME
    sub(/.*\//, "", name)
    sub(/\.sql$/, "", name)
    print "\nconst char SQL_" toupper(name) "[] ="
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
            if (!(word in number))
                number[word] = ++count
            word = "$" number[word]
        }
        line = line word
    }
    line = line rest
    gsub(/\\/, "\\\\", line)
    gsub(/"/, "\\\"", line)
    print "    \"" line "\\n\""
}
END { print "    ;" }
