package similar

import "strings"

// maxTypos is the maximum edit distance at which a name counts as misspelled. For short names, the
// maximum is lower.
const maxTypos = 3

// Hint returns the text "; did you mean X?", which can be appended to an error about an unknown
// name. X is the name that [Find] returns. Hint returns "" if there is none.
func Hint(name string, candidates []string) string {
	if best := Find(name, candidates); best != "" {
		return "; did you mean " + best + "?"
	}
	return ""
}

// Find returns the candidate that is most similar to name, or "" if no candidate is similar. Names
// may have parts that are separated by dots and slashes.
//
// A candidate is similar if its edit distance to name, ignoring case, is small enough. The distance
// must be at most three. It must also be at most a third, rounded up, of the length of the last
// part of name. A candidate is also similar if it ends with a dot or slash followed by name, for
// example because name lacks the package.
func Find(name string, candidates []string) string {
	last := name[strings.LastIndexAny(name, "/.")+1:]
	best, bestDistance := "", 1+min(maxTypos, (len(last)+2)/3)
	for _, candidate := range candidates {
		distance := editDistance(strings.ToLower(name), strings.ToLower(candidate), bestDistance)
		if strings.HasSuffix(candidate, "/"+name) || strings.HasSuffix(candidate, "."+name) {
			distance = 0
		}
		if distance < bestDistance {
			best, bestDistance = candidate, distance
		}
	}
	return best
}

// editDistance returns the Levenshtein distance between a and b: the number of bytes that must be
// inserted, deleted or replaced to turn a into b. If the distance is greater than limit,
// editDistance returns limit.
func editDistance(a, b string, limit int) int {
	if max(len(a)-len(b), len(b)-len(a)) >= limit {
		return limit
	}
	// distances[j] is the distance between the first i bytes of a and the first j bytes of b. The
	// slice is the current row of the usual matrix. The variable diagonal is the element of the
	// previous row that was overwritten last.
	distances := make([]int, len(b)+1)
	for j := range distances {
		distances[j] = j
	}
	for i := range len(a) {
		diagonal := distances[0]
		distances[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = distances[j+1]
			distances[j+1] = min(replaced, distances[j]+1, distances[j+1]+1)
		}
	}
	return min(distances[len(b)], limit)
}
