# Cargo takes a file for unchanged when it is older than what was made of it. Here another copy of the project may have been compiled
# before, so each file gets the time at which its path got other content in this target directory.
known=$CARGO_TARGET_DIR/.content-and-times
touch "$known"
find . -type f -exec sha256sum {} + | awk -v now="$(date +%s.%N)" -v known="$known" '
    BEGIN {
        while ((getline line < known) > 0) {
            space = index(line, " ")
            times[substr(line, space + 1)] = substr(line, 1, space - 1)
        }
    }
    { print ($0 in times ? times[$0] : now), $0 }
' > "$known.new"
cut -d ' ' -f 1 "$known.new" | sort -u | while read -r time; do
    awk -v time="$time" '$1 "" == time "" { print substr($0, length(time) + 68) }' "$known.new" |
        tr '\n' '\0' | xargs -0 touch -d "@$time"
done
mv "$known.new" "$known"
