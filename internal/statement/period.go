package statement

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/utexo/utexo-operator/api/v1alpha1"
)

// ClosingDelay is how long after its end a period's document is written. Clocks of the service and the operator may differ by that
// much, and an answer may be under way that long, without a movement falling between two documents.
const ClosingDelay = 10 * time.Minute

// shortest is what the ticks of a schedule are apart at least: each document costs the service a list of all payments.
const shortest = time.Hour

// looksAhead is how many ticks of a schedule are looked at for two that are too close.
const looksAhead = 100

// Period is the time from From up to, and without, To. Both are in UTC.
type Period struct{ From, To time.Time }

// Has reports whether at is in the period.
func (p Period) Has(at time.Time) bool { return !at.Before(p.From) && at.Before(p.To) }

// String returns the period for a person.
func (p Period) String() string {
	return "from " + p.From.Format(time.RFC3339) + " to " + p.To.Format(time.RFC3339)
}

// Next returns the period whose document is to be written next, whether or not it is over, and nil where none is. The error, of a
// schedule that cannot be kept, says what to change.
func Next(object *v1alpha1.Statement) (*Period, error) {
	closed := object.Status.ClosedThrough
	if declared := object.Spec.Period; declared != nil {
		if closed != nil {
			return nil, nil
		}
		return &Period{declared.From.UTC(), declared.To.UTC()}, nil
	}
	ticks, err := parseSchedule(object.Spec.Schedule)
	if err != nil {
		return nil, err
	}
	created := object.CreationTimestamp.UTC()
	from := previous(ticks, created)
	if closed != nil {
		from = closed.UTC()
	}
	to := ticks.Next(from)
	if to.IsZero() {
		return nil, fmt.Errorf("schedule %q never comes due", object.Spec.Schedule)
	}
	last := ticks.Next(created)
	for range looksAhead {
		next := ticks.Next(last)
		if next.IsZero() {
			break // not within years
		}
		if next.Sub(last) < shortest {
			return nil, fmt.Errorf("schedule %q comes due twice within an hour; periods are an hour long at least", object.Spec.Schedule)
		}
		last = next
	}
	return &Period{from, to}, nil
}

// parseSchedule reads a schedule in UTC. Zones, and intervals that do not start at an hour of the day, are none of the format.
func parseSchedule(text string) (cron.Schedule, error) {
	if strings.ContainsAny(text, "=:") || strings.HasPrefix(text, "@every") { // the library panics on some of these
		return nil, fmt.Errorf("schedule %q names a zone or an interval; it is five fields in UTC, or a word such as @monthly", text)
	}
	parser := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)
	ticks, err := parser.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("schedule %q cannot be read: %w", text, err)
	}
	return ticks, nil
}

// previous returns the last tick at or before an instant; the instant itself where there was none in ten years.
func previous(ticks cron.Schedule, instant time.Time) time.Time {
	for back := time.Hour; back < 10*366*24*time.Hour; back *= 2 {
		last := time.Time{}
		for at := ticks.Next(instant.Add(-back)); !at.IsZero() && !at.After(instant); at = ticks.Next(at) {
			last = at
		}
		if !last.IsZero() {
			return last
		}
	}
	return instant
}
