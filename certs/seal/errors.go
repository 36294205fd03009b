package seal

import "fmt"

// Causes for which a storage, or a value in it, is not taken: the [Error.Cause].
const (
	StorageSealed  = "storage_sealed"   // and was to be opened as a plain one
	StoragePlain   = "storage_plain"    // and was to be opened as a sealed one
	StorageSealing = "storage_sealing"  // sealing it was begun and not finished
	StorageUnknown = "storage_unknown"  // its mark is missing, damaged, or of a newer version
	ValuePlain     = "value_not_sealed" // a secret stands in a sealed storage as it is
	ValueDamaged   = "value_damaged"    // it was changed, or moved here from another name or storage
)

// Error is a storage, or a value in it, that is not taken.
type Error struct {
	Cause string // one of the constants above
	Name  string // of the value; "" for the storage
	Err   error
}

func (e *Error) Error() string {
	if e.Name == "" {
		return e.Err.Error()
	}
	return fmt.Sprintf("%s: %v", e.Name, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Reason is the stable name of the cause.
func (e *Error) Reason() string { return e.Cause }
