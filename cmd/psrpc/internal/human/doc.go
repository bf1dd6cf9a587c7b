// Package human formats numbers and durations for the tables of the command line.
//
// Each function returns a short text with the unit, for example "2.1 ms", "1,204" or "2d04h". The
// texts are for people: programs read the JSON output, which has exact numbers.
package human
