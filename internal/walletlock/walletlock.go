// Package walletlock lets one spender at a time into a wallet's critical section: a mutex in the process, a Lease across processes.
//
// The Lease does more than exclude. The write that precedes a call to the service also writes down which call, so that whoever comes
// next, after a crash or a lost answer, knows that it may still land, and begins nothing on this wallet before it cannot: the
// service keeps one begun payment a wallet, and a late begin would turn the next payment's end into a payment of something else.
package walletlock

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/clock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// InflightAnnotation holds, as JSON, the call of which the answer is not known yet.
const InflightAnnotation = "payments.utexo.com/inflight"

// LeaseDuration is how long a holder is left alone after its last write, where no call is in flight.
const LeaseDuration = 30 * time.Second

// Operation is a call of the critical section.
type Operation string

// The calls of the critical section.
const (
	// Begin is everything from the look-up to the service's unsigned PSBT.
	Begin Operation = "begin"
	// End is the call that moves money.
	End Operation = "end"
	// Settle is the call that moves the balance into channels.
	Settle Operation = "settle"
	// Sign is no call: it keeps the wallet for a payment that began and that people have to sign, so that its end is of that begin.
	Sign Operation = "sign"
)

// Inflight is a call that was made, or is about to be.
type Inflight struct {
	Operation Operation `json:"operation"`
	// Record and Attempt say whose call it is.
	Record  string `json:"record"`
	Attempt int32  `json:"attempt"`
	// NotAfter is the instant after which no byte of the call is written; of Sign, until when the wallet is kept.
	NotAfter metav1.MicroTime `json:"notAfter"`
}

// BusyError means that somebody else is in the critical section.
type BusyError struct {
	// RetryAfter is when it is worth trying again.
	RetryAfter time.Duration
}

func (e *BusyError) Error() string { return "another payment is being made from this wallet" }

// QuarantinedError means that a call of an earlier attempt may still land.
type QuarantinedError struct {
	Inflight Inflight
	// Until is when it cannot land any more.
	Until time.Time
}

func (e *QuarantinedError) Error() string {
	return fmt.Sprintf("a %s call of %s ended unclearly and may still land", e.Inflight.Operation, e.Inflight.Record)
}

// ReservedError means that the wallet is kept for a payment that people have to sign.
type ReservedError struct{ Inflight Inflight }

func (e *ReservedError) Error() string {
	return fmt.Sprintf("the wallet is kept for %s, which is being signed", e.Inflight.Record)
}

// LostError means that the lock is somebody else's now. Nothing may be called any more.
type LostError struct{ cause error }

func (e *LostError) Error() string { return "the wallet's Lease was taken over" }
func (e *LostError) Unwrap() error { return e.cause }

// Locks hands out wallets.
type Locks struct {
	Client client.Client
	// Reader reads from the API server, not from a cache.
	Reader    client.Reader
	Namespace string
	// Identity tells this process from every other, and from itself before a restart.
	Identity string
	Clock    clock.PassiveClock
	// Quarantine is how long after NotAfter a call may still land.
	Quarantine time.Duration

	mutex  sync.Mutex
	inside map[string]bool
}

// Held is a wallet's critical section.
type Held struct {
	locks *Locks
	name  string
	lease *coordinationv1.Lease
}

// LeaseName is the name of a wallet's Lease. The service knows a wallet by its vanilla xpub alone.
func LeaseName(xpubVanilla string) string {
	sum := sha256.Sum256([]byte(xpubVanilla))
	return "wallet-" + hex.EncodeToString(sum[:20])
}

// Acquire enters the critical section of a wallet in order to make the call that intent names, and writes intent down. Only the same
// attempt of the same record may enter while its own end is in flight, to repeat it; all others get a *QuarantinedError until that
// call cannot land any more, or a *BusyError.
//
// An intent of Sign enters only where the wallet is kept for the very same one, so that nothing began on it since; else it gets a
// *LostError. All others but a further attempt of the same record get a *ReservedError until the NotAfter of what it is kept for.
func (l *Locks) Acquire(ctx context.Context, xpubVanilla string, intent Inflight) (*Held, error) {
	return l.acquire(ctx, xpubVanilla, nil, intent)
}

// AcquireAfter is Acquire where the caller has proof that the call answered, of which a *QuarantinedError told, had a clear answer: it keeps
// nobody out. Any other call that the Lease tells of by now does.
func (l *Locks) AcquireAfter(ctx context.Context, xpubVanilla string, answered, intent Inflight) (*Held, error) {
	return l.acquire(ctx, xpubVanilla, &answered, intent)
}

func (l *Locks) acquire(ctx context.Context, xpubVanilla string, answered *Inflight, intent Inflight) (*Held, error) {
	name := LeaseName(xpubVanilla)
	if !l.enter(name) {
		return nil, &BusyError{RetryAfter: time.Second}
	}
	lease, err := l.acquireLease(ctx, name, answered, intent)
	if err != nil {
		l.leave(name)
		return nil, err
	}
	return &Held{locks: l, name: name, lease: lease}, nil
}

func (l *Locks) enter(name string) bool {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if l.inside[name] {
		return false
	}
	if l.inside == nil {
		l.inside = map[string]bool{}
	}
	l.inside[name] = true
	return true
}

func (l *Locks) leave(name string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	delete(l.inside, name)
}

func (l *Locks) acquireLease(ctx context.Context, name string, answered *Inflight, intent Inflight) (*coordinationv1.Lease, error) {
	var lease coordinationv1.Lease
	err := l.Reader.Get(ctx, client.ObjectKey{Namespace: l.Namespace, Name: name}, &lease)
	if apierrors.IsNotFound(err) {
		if intent.Operation == End || intent.Operation == Sign {
			return nil, &LostError{} // as mayEnter says: what began since is not known
		}
		fresh := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: l.Namespace, Name: name}}
		if err := l.fill(fresh, intent); err != nil {
			return nil, err
		}
		err := l.Client.Create(ctx, fresh)
		if apierrors.IsAlreadyExists(err) {
			return nil, &BusyError{RetryAfter: time.Second}
		}
		if err != nil {
			return nil, fmt.Errorf("creating the wallet's Lease: %w", err)
		}
		return fresh, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the wallet's Lease: %w", err)
	}
	if err := l.mayEnter(&lease, answered, intent); err != nil {
		return nil, err
	}
	taken, err := l.write(ctx, &lease, &intent)
	if _, lost := errors.AsType[*LostError](err); lost { // somebody was faster
		return nil, &BusyError{RetryAfter: time.Second}
	}
	return taken, err
}

// mayEnter says why intent must wait for what lease tells of earlier calls, or nil. answered is one that is known to be over.
func (l *Locks) mayEnter(lease *coordinationv1.Lease, answered *Inflight, intent Inflight) error {
	now := l.Clock.Now()
	earlier, err := inflight(lease)
	if err != nil {
		return err
	}
	repeats := earlier != nil && earlier.Operation == End && intent.Operation == End && earlier.Record == intent.Record &&
		earlier.Attempt == intent.Attempt
	holder := ptr.Deref(lease.Spec.HolderIdentity, "")
	if holder != "" && holder != l.Identity && lease.Spec.RenewTime != nil {
		if left := lease.Spec.RenewTime.Add(LeaseDuration).Sub(now); left > 0 {
			return &BusyError{RetryAfter: min(left, 5*time.Second)}
		}
	}
	switch {
	case repeats:
		return nil
	case earlier != nil && earlier.Operation == Sign:
		kept := now.Before(earlier.NotAfter.Time)
		switch {
		case intent.Operation == Sign && kept && same(*earlier, intent):
			return nil
		case intent.Operation == Begin && earlier.Record == intent.Record && earlier.Attempt < intent.Attempt:
			return nil // its own earlier attempt, which it gave up
		case kept && intent.Operation != Sign:
			return &ReservedError{Inflight: *earlier}
		}
	case earlier != nil && (answered == nil || !same(*earlier, *answered)):
		if until := earlier.NotAfter.Add(l.Quarantine); now.Before(until) {
			return &QuarantinedError{Inflight: *earlier, Until: until}
		}
	}
	if intent.Operation == End || intent.Operation == Sign {
		// An end that nobody wrote down here is no repetition: another payment may have begun in between.
		return &LostError{}
	}
	return nil
}

// same reports whether a and b tell of the same call of the same payment until the same instant.
func same(a, b Inflight) bool {
	return a.Operation == b.Operation && a.Record == b.Record && a.Attempt == b.Attempt && a.NotAfter.Equal(&b.NotAfter)
}

func inflight(lease *coordinationv1.Lease) (*Inflight, error) {
	text, ok := lease.Annotations[InflightAnnotation]
	if !ok {
		return nil, nil
	}
	var found Inflight
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		return nil, fmt.Errorf("annotation %s of Lease %s cannot be read; remove it once no payment of the wallet is under way: %w",
			InflightAnnotation, lease.Name, err)
	}
	return &found, nil
}

// fill writes this process, as the holder, and intent into lease.
func (l *Locks) fill(lease *coordinationv1.Lease, intent Inflight) error {
	text, err := json.Marshal(intent)
	if err != nil {
		return fmt.Errorf("writing down the call: %w", err)
	}
	now := metav1.NewMicroTime(l.Clock.Now())
	if lease.Annotations == nil {
		lease.Annotations = map[string]string{}
	}
	lease.Annotations[InflightAnnotation] = string(text)
	if ptr.Deref(lease.Spec.HolderIdentity, "") != l.Identity {
		lease.Spec.AcquireTime = &now
		lease.Spec.LeaseTransitions = ptr.To(ptr.Deref(lease.Spec.LeaseTransitions, 0) + 1)
	}
	lease.Spec.HolderIdentity = ptr.To(l.Identity)
	lease.Spec.LeaseDurationSeconds = ptr.To(int32(LeaseDuration / time.Second))
	lease.Spec.RenewTime = &now
	return nil
}

// write is a compare-and-swap of lease. A nil intent frees it and says that nothing is in flight.
func (l *Locks) write(ctx context.Context, lease *coordinationv1.Lease, intent *Inflight) (*coordinationv1.Lease, error) {
	next := lease.DeepCopy()
	if intent != nil {
		if err := l.fill(next, *intent); err != nil {
			return nil, err
		}
	} else {
		delete(next.Annotations, InflightAnnotation)
		next.Spec.HolderIdentity = nil
	}
	return l.patch(ctx, lease, next)
}

func (l *Locks) patch(ctx context.Context, lease, next *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	err := l.Client.Patch(ctx, next, client.MergeFromWithOptions(lease, client.MergeFromWithOptimisticLock{}))
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil, &LostError{cause: err}
	}
	if err != nil {
		return nil, fmt.Errorf("writing the wallet's Lease: %w", err)
	}
	return next, nil
}

// Declare writes down the call that is about to be made, if the lock is still ours. It is the last write before that call.
func (h *Held) Declare(ctx context.Context, intent Inflight) error {
	lease, err := h.locks.write(ctx, h.lease, &intent)
	if err != nil {
		return err
	}
	h.lease = lease
	return nil
}

// Release leaves the critical section. clean says that every call in it had a clear answer, so that nothing of ours can still land;
// otherwise what was written down stays, and keeps the wallet until then. An error means that the Lease was not freed: whoever comes
// next waits, as after a crash.
func (h *Held) Release(ctx context.Context, clean bool) error {
	defer h.locks.leave(h.name)
	if clean {
		_, err := h.locks.write(ctx, h.lease, nil)
		return err
	}
	next := h.lease.DeepCopy()
	next.Spec.HolderIdentity = nil
	_, err := h.locks.patch(ctx, h.lease, next)
	return err
}

// Free gives up a wallet that is kept for an attempt of a record, where it still is. Without it the wallet is free once its time is over.
func (l *Locks) Free(ctx context.Context, xpubVanilla, record string, attempt int32) error {
	var lease coordinationv1.Lease
	err := l.Reader.Get(ctx, client.ObjectKey{Namespace: l.Namespace, Name: LeaseName(xpubVanilla)}, &lease)
	if err != nil {
		return client.IgnoreNotFound(err)
	}
	kept, err := inflight(&lease)
	if err != nil || kept == nil || kept.Operation != Sign || kept.Record != record || kept.Attempt != attempt {
		return err
	}
	_, err = l.write(ctx, &lease, nil)
	return err
}
