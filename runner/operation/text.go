package operation

import (
	"unicode"
	"unicode/utf8"
)

// around is how far a byte of UTF-8 has to look to either side to know whether it is part of a character.
const around = utf8.UTFMax - 1

// printable puts question marks in place of what a terminal would obey: the control characters C0
// but \n, \t and \r, DEL, and C1, be they UTF-8 (U+0080 to U+009F) or bytes alone (0x80 to 0x9f), as which
// a terminal may take them that does not speak UTF-8. All other bytes stay, and so does their number.
func printable(p []byte) {
	for len(p) > 0 {
		r, n := utf8.DecodeRune(p)
		if n == 1 && r == utf8.RuneError {
			r = rune(p[0])
		}
		if unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r' {
			for i := range n {
				p[i] = '?'
			}
		}
		p = p[n:]
	}
}

// unfinished is how many bytes at the end of p are a character whose rest has not been printed yet.
func unfinished(p []byte) int {
	for n := 1; n <= min(around, len(p)); n++ {
		if end := p[len(p)-n:]; utf8.RuneStart(end[0]) {
			if utf8.FullRune(end) {
				return 0
			}
			return n
		}
	}
	return 0
}
