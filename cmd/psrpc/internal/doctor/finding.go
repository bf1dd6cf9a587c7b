package doctor

import "github.com/dynpsrpc/dynpsrpc/internal/schemadiff"

// Severity is how bad a finding is.
type Severity string

const (
	// OK means that everything is as it should be.
	OK Severity = "ok"
	// Warning means that something may cost time or hide problems.
	Warning Severity = "warn"
	// Error means that calls fail, or that requests are lost or run more than once.
	Error Severity = "error"
)

// A Finding is one result of a check.
type Finding struct {
	// Check is the ID of the check, such as "fleet.clock".
	Check    string   `json:"check"`
	Severity Severity `json:"severity"`
	// Seen describes what the check has found.
	Seen string `json:"seen"`
	// Do is advice on how to solve the problem. It is empty if the severity is OK.
	Do string `json:"do,omitempty"`
	// Servers are the IDs of the servers concerned, if the check knows them.
	Servers []string `json:"servers,omitempty"`
	// Differences are the differences between two versions of a service.
	Differences []schemadiff.Difference `json:"differences,omitempty"`
}

// A Skip is a check that could not run.
type Skip struct {
	Check string `json:"check"`
	// Reason says what is missing.
	Reason string `json:"reason"`
}

// Report is the result of all checks.
type Report struct {
	// Findings are in the order of the checks. A check that has found nothing adds none.
	Findings []Finding `json:"findings"`
	// Passed contains the IDs of the checks that have found nothing bad.
	Passed []string `json:"passed"`
	// Skipped contains the checks that could not run.
	Skipped []Skip `json:"skipped,omitempty"`
	// Unreachable is set if the broker does not answer.
	Unreachable bool `json:"unreachable,omitempty"`
}

// Worst returns the highest severity of the findings.
func (r Report) Worst() Severity {
	worst := OK
	for _, finding := range r.Findings {
		if finding.Severity == Error {
			return Error
		}
		if finding.Severity == Warning {
			worst = Warning
		}
	}
	return worst
}
