package spender

import (
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"k8s.io/utils/ptr"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/utexo"
)

// Look asks the service for a payment by the identity that was known before it was submitted. It changes nothing. An error is one of
// the API server's.
func (s *Spender) Look(ctx context.Context, order *payment.Order, record *v1alpha1.PaymentRecord, session *Session) (payment.Sighting, error) {
	if order.Kind == v1alpha1.RecordOnchainSend {
		return lookOnchain(ctx, order, record, session), nil
	}
	return s.lookLightning(ctx, order, record, session)
}

func (s *Spender) lookLightning(ctx context.Context, order *payment.Order, record *v1alpha1.PaymentRecord, session *Session) (payment.Sighting, error) {
	found, presence, err := session.Service.SendRequest(ctx, order.PaymentHash)
	switch {
	case presence == utexo.Present:
		seen := payment.Sighting{
			Presence: payment.Outbound, State: sendState(found.Status), Word: found.StatusWord, RequestID: found.ID, FeeSats: found.FeeSats,
			AmountSats: found.AmountSats,
		}
		if found.Asset != nil {
			seen.Asset = &v1alpha1.AssetAmount{ID: found.Asset.ID, Amount: found.Asset.Amount}
		}
		if record.Journal.SubmittedAt == nil && order.HashTaken(seen) != nil {
			return seen, nil // whoever pays it, it is not this invoice
		}
		// Where the hash was unknown before we paid it is no invoice of the node's own, if that word was true. It was one word: what ends
		// the payment, and one that is under way for too long, is held against all that is known, and a failure is without asking for more.
		// Where we submitted nothing it counts for nothing.
		told := record.Journal.AbsentBefore && record.Journal.SubmittedAt != nil
		if told && seen.State == payment.StatePending && s.Clock.Now().Before(order.StartBefore) {
			return seen, nil
		}
		inbound, listed, problem, err := s.inbound(ctx, order, session, record.Journal.SubmittedAt == nil, !told || seen.State != payment.StateFailed)
		switch {
		case err != nil:
			return payment.Sighting{}, err
		case inbound:
			seen.Presence = payment.Inbound
		case problem != "" && !told:
			return payment.Sighting{Problem: problem}, nil
		}
		if seen.Payee = listed.Payee; listed.State == seen.State {
			seen.UpdatedAt = listed.UpdatedAt
		}
		if seen.AmountSats == nil && seen.Asset == nil {
			seen.AmountSats, seen.Asset = listed.AmountSats, listed.Asset
		}
		return seen, nil
	case presence == utexo.PresenceUnknown && err != nil && !notFoundAtAll(err):
		return payment.Sighting{Problem: problemOf(err)}, nil
	}
	// Not shown by its hash. A complete list settles it, where the service has one.
	listed, listErr := lookInList(ctx, session.Service, order.PaymentHash)
	if listErr == nil {
		return listed, nil
	}
	if presence == utexo.Absent {
		return payment.Sighting{Presence: payment.Absent}, nil
	}
	if errors.Is(listErr, utexo.ErrNotAvailable) {
		return payment.Sighting{Presence: payment.NotSeen, Problem: "the service shows no such payment, which it also does when it cannot tell"}, nil
	}
	return payment.Sighting{Problem: problemOf(listErr)}, nil
}

// notFoundAtAll reports whether err is a 404, which for a payment hash is as good as null: not seen.
func notFoundAtAll(err error) bool {
	failed, ok := errors.AsType[*utexo.Error](err)
	return ok && failed.StatusCode == 404 && failed.Effect == utexo.EffectRefused
}

// lookInList looks for a payment hash in the service's list of payments, which is not kept. An error is of a list that was not read whole.
func lookInList(ctx context.Context, service Service, paymentHash string) (payment.Sighting, error) {
	seen := payment.Sighting{Presence: payment.Absent, Complete: true}
	err := service.EachPayment(ctx, func(one utexo.Payment) {
		switch {
		case one.PaymentHash != paymentHash || seen.Presence == payment.Outbound:
		case one.Inbound:
			seen = payment.Sighting{Presence: payment.Inbound, State: sendState(one.Status), Word: one.StatusWord}
		default:
			seen = payment.Sighting{
				Presence: payment.Outbound, State: sendState(one.Status), Word: one.StatusWord, RequestID: paymentHash, UpdatedAt: one.UpdatedAt,
				Payee: one.PayeePubkey,
			}
			if one.AmountMsat != nil {
				seen.AmountSats = new(int64(amount.MilliSat(*one.AmountMsat).CeilSat()))
			}
			if one.AssetID != "" {
				seen.Asset = &v1alpha1.AssetAmount{ID: one.AssetID, Amount: ptr.Deref(one.AssetAmount, 0)}
			}
		}
	})
	return seen, err
}

// inbound reports whether a payment hash that the service knows is that of an invoice which its own node issued: it answers those as
// if they were being paid. The list of payments tells; where there is none, the node that is to be paid does, compared with the node
// that issues the wallet's invoices; fresh and mayIssue are ownNode's. Of one that is no such invoice it returns what the list says, where
// there is one.
func (s *Spender) inbound(ctx context.Context, order *payment.Order, session *Session, fresh, mayIssue bool,
) (inbound bool, listed payment.Sighting, problem string, err error) {
	listed, listErr := lookInList(ctx, session.Service, order.PaymentHash)
	if listErr == nil {
		switch listed.Presence {
		case payment.Inbound:
			return true, listed, "", nil
		case payment.Outbound:
			return false, listed, "", nil
		}
		return false, payment.Sighting{}, "the service shows the payment by its hash, but not in its list", nil
	}
	if !errors.Is(listErr, utexo.ErrNotAvailable) {
		return false, payment.Sighting{}, problemOf(listErr), nil
	}
	published, err := s.Records.PublishedInvoice(ctx, order.PaymentHash, session.Wallet)
	if err != nil || published != nil {
		return published != nil, payment.Sighting{}, "", err
	}
	node, problem, err := s.ownNode(ctx, session, fresh, mayIssue)
	return node == order.Destination, payment.Sighting{}, problem, err
}

// knownNode is what the last invoice of a service said of the node behind it.
type knownNode struct {
	// publicKey is empty where the invoice could not be read.
	publicKey string
	// issuedAt is when the invoice was issued; the node may have been replaced since.
	issuedAt time.Time
}

// nodeFresh is for how long an invoice tells which node a service has.
const nodeFresh = 10 * time.Minute

const unreadableInvoices = "the service issues invoices that cannot be read"

// ownNode returns the public key of the node behind the service, from an invoice that it issued. Where it has to be fresh, as for what
// somebody else submitted, it has a small one issued now and then, which nobody ever sees and which dies by itself; an older one counts only
// where the service refuses to. Otherwise any invoice tells, and one is issued where none is known and mayIssue says so.
func (s *Spender) ownNode(ctx context.Context, session *Session, fresh, mayIssue bool) (node, problem string, err error) {
	key := session.Wallet.Server + " " + session.Wallet.XpubVanilla
	known, asked := s.nodes.Load(key)
	last, _ := known.(knownNode)
	age := s.Clock.Since(last.issuedAt)
	recent := asked && 0 <= age && age < nodeFresh
	if last.publicKey != "" && (recent || !fresh) {
		return last.publicKey, "", nil
	}
	problem = "the node of the wallet is not known"
	if recent {
		problem = unreadableInvoices
	}
	if fresh && !recent {
		final := false
		if node, problem, final = s.askNode(ctx, session, key); node != "" || !final {
			return node, problem, nil
		}
	}
	published, err := s.Records.AnyPublishedInvoice(ctx, session.Wallet)
	switch {
	case err != nil:
		return "", "", err
	case published != nil:
		invoice, err := bolt11.Decode(published.Spec.PaymentRequest)
		if err != nil {
			return "", unreadableInvoices, nil
		}
		node = hex.EncodeToString(invoice.Payee[:])
		s.nodes.LoadOrStore(key, knownNode{publicKey: node, issuedAt: published.CreationTimestamp.Time})
		return node, "", nil
	case fresh || recent || !mayIssue:
		return "", problem, nil
	}
	node, problem, _ = s.askNode(ctx, session, key)
	return node, problem, nil
}

// askNode has the service issue an invoice and remembers what it says of the node, or that it cannot be read. final tells, where there is no
// node, that asking again soon would not help.
func (s *Spender) askNode(ctx context.Context, session *Session, key string) (node, problem string, final bool) {
	sats := int64(1000)
	issued, err := session.Service.CreateInvoice(ctx, utexo.InvoiceRequest{AmountSats: &sats, ExpirySeconds: 60})
	if err != nil {
		failed, ok := errors.AsType[*utexo.Error](err)
		return "", problemOf(err), ok && failed.Effect == utexo.EffectRefused && !failed.Temporary()
	}
	invoice, err := bolt11.Decode(issued.PaymentRequest)
	if err == nil {
		node = hex.EncodeToString(invoice.Payee[:])
	} else {
		problem = unreadableInvoices
	}
	s.nodes.Store(key, knownNode{publicKey: node, issuedAt: s.Clock.Now()})
	return node, problem, true
}

func lookOnchain(ctx context.Context, order *payment.Order, record *v1alpha1.PaymentRecord, session *Session) payment.Sighting {
	found, presence, err := session.Service.OnchainSend(ctx, cmp.Or(record.Journal.RequestID, order.SendID))
	switch {
	case presence == utexo.Absent, forgotten(err):
		return payment.Sighting{Presence: payment.Absent}
	case presence != utexo.Present && err != nil:
		return payment.Sighting{Problem: problemOf(err)}
	case presence != utexo.Present:
		return payment.Sighting{Problem: "the service answered nothing about this send"}
	}
	seen := payment.Sighting{
		Presence: payment.Outbound, State: onchainState(found.Status), Word: found.StatusWord, RequestID: found.ID, FeeSats: found.FeeSats,
		CreatedAt: found.CreatedAt, Destination: found.DestinationEcho, AmountSatsRequested: found.AmountSatsRequested, AmountSatsSent: found.AmountSatsSent,
		CloseTxids: found.CloseTxids, ErrorCode: found.ErrorCode, ErrorMessage: found.ErrorMessage,
	}
	if found.Asset != nil {
		seen.Asset = &v1alpha1.AssetAmount{ID: found.Asset.ID, Amount: found.Asset.Amount}
	}
	if found.SweepTxid != nil {
		seen.SweepTxid = *found.SweepTxid
	}
	if seen.State == payment.StateFailed {
		seen.Retryable = &found.Retryable
	}
	return seen
}

// forgotten reports whether err is a 404 about a send, in whatever words: absence of a send that was there proves nothing, but is news.
func forgotten(err error) bool {
	return notFoundAtAll(err) && !errors.Is(err, utexo.ErrNotAvailable) && !errors.Is(err, utexo.ErrWalletNotRegistered)
}

func sendState(status utexo.SendStatus) payment.State {
	switch status {
	case utexo.SendSucceeded:
		return payment.StateSucceeded
	case utexo.SendFailed:
		return payment.StateFailed
	}
	return payment.StatePending
}

func onchainState(status utexo.OnchainStatus) payment.State {
	switch status {
	case utexo.OnchainConfirmed:
		return payment.StateSucceeded
	case utexo.OnchainFailed:
		return payment.StateFailed
	}
	return payment.StatePending
}

// problemOf is what a person is told of a call that brought no usable answer.
func problemOf(err error) string {
	if failed, ok := errors.AsType[*utexo.Error](err); ok {
		return fmt.Sprintf("the service did not answer %s: %s %s", failed.Operation, failed.Code, failed.Message)
	}
	return "the service did not answer"
}
