# Makes a statement that writes the history of one that does not: in the second file the CTEs of the
# first one, sql/recorded.sql, take the place of those of the same name, which stand in one line each.
/^[ \t]*--/ { next }
NR == FNR {
    if (/^[a-z_]+ AS \(/ && $1 != "recorded")
        name = $1
    text[name] = text[name] (text[name] == "" ? "" : "\n") $0
    next
}
{
    start = /^WITH / ? 2 : 1
    if ($start in text && $(start + 1) == "AS")
        print (start == 2 ? "WITH " : "") text[$start]
    else
        print
}
