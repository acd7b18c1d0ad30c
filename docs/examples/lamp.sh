#!/bin/sh
# A lamp, for thing agent --on-request: one run for each request.
read -r request
case "$request" in
    on | off) echo "$request" > lamp-is ;;
    how) ;;
    *) echo "no lamp does this: $request" >&2; exit 1 ;;
esac
cat lamp-is
