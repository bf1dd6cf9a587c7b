package registry

// camelCase converts a protobuf name to the name that psrpc uses on the wire. A leading underscore
// becomes X. Any other underscore is removed if it is followed by a lower-case letter; otherwise it
// is kept. A lower-case letter is converted to upper case at the start of the name, after an
// underscore and after a digit.
func camelCase(name string) string {
	out := make([]byte, 0, len(name))
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '_' && i == 0:
			out = append(out, 'X')
		case c == '_' && i+1 < len(name) && isLower(name[i+1]):
			// The underscore is left out. The next case converts the letter after it to upper case.
		case isLower(c) && (i == 0 || name[i-1] == '_' || isDigit(name[i-1])):
			out = append(out, c-'a'+'A')
		default:
			out = append(out, c)
		}
	}
	return string(out)
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
