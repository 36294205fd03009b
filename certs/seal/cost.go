package seal

import "time"

// Limits of the period for which a data key is used, as SQS has them.
const (
	MinReuse = time.Minute
	MaxReuse = 24 * time.Hour
)

// Requests estimates how many requests a key gets in a billing period from
// producers, which seal, and consumers, which open, each of them a principal with
// data keys of its own:
//
//	R = (B / D) × (2 × P + C)
//
// A producer asks for a data key in each reuse period and has it decrypted once
// to compare, a consumer has it decrypted. A period that has only begun counts
// whole. The formula is from "Estimating AWS KMS costs" in the Amazon SQS
// Developer Guide, whose periods divide without a rest.
func Requests(period, reuse time.Duration, producers, consumers int) int64 {
	if period <= 0 || reuse <= 0 {
		return 0
	}
	periods := int64(period / reuse)
	if period%reuse != 0 {
		periods++
	}
	return periods * (2*int64(producers) + int64(consumers))
}
