package seal

import (
	"testing"
	"time"
)

func TestRequests(t *testing.T) {
	const day = 24 * time.Hour
	for _, test := range []struct {
		name                 string
		period, reuse        time.Duration
		producers, consumers int
		want                 int64
	}{
		{"SQS example 1", 31 * day, 5 * time.Minute, 1, 1, 26_784},
		{"SQS example 2, first queue", 28 * day, day, 3, 1, 196},
		{"SQS example 2, second queue", 28 * day, day, 5, 2, 336}, // 532 together
		{"a period that has begun", day + time.Second, day, 1, 0, 4},
		{"shorter than one", time.Second, day, 1, 1, 3},
		{"nobody", day, day, 0, 0, 0},
		{"no time", 0, day, 1, 1, 0},
		{"no reuse", day, 0, 1, 1, 0},
	} {
		if got := Requests(test.period, test.reuse, test.producers, test.consumers); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}
