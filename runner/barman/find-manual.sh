# shellcheck shell=sh
# Prints the path of the page barman.5, and then the page, packed as it is. $1 is the barman program: a manual
# that was installed with it comes before the system's.
program=$(readlink -f "$(command -v "$1")")
for dir in "${program%/*/*}/share/man" /usr/local/share/man /usr/share/man; do
	for page in "$dir"/man5/barman.5 "$dir"/man5/barman.5.gz; do
		if [ -r "$page" ]; then
			echo "$page"
			exec cat "$page"
		fi
	done
done
