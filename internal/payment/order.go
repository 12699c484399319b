// Package payment is the payment machine: what a payment is, what may be done next, and what an answer means. It is pure: it knows
// no cluster, no network and no clock. The programs around it read facts, ask Decide, write the journal it returns, and then do the
// one step that it names.
//
// The promise, a manifest pays once, rests on three things, all of them here: the name of a payment's record is made from its
// identity, the journal says Submitting before the call that moves money, and a further attempt begins only on proof that the one
// before was not sent.
package payment

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/rgb"
)

// Order is one payment as it is declared, resolved and found payable.
type Order struct {
	// Kind is RecordLightningPayment or RecordOnchainSend.
	Kind   v1alpha1.RecordKind
	Holder v1alpha1.RecordHolder
	Wallet v1alpha1.RecordWallet
	// PaymentRequest and PaymentHash are a Lightning payment's.
	PaymentRequest string
	PaymentHash    string
	// Destination is the payee's public key, an address or an RGB invoice.
	Destination string
	// AmountSats is what the payee gets in bitcoin; of an asset payment over Lightning the bitcoin that its invoice also names, of an
	// asset sent on-chain 0.
	AmountSats amount.Sat
	Asset      *v1alpha1.AssetAmount
	MaxFeeSats amount.Sat
	FeeRate    amount.SatPerVByte
	// StartBefore is the instant after which no attempt begins.
	StartBefore time.Time
	// IdempotencyKey is an on-chain send's.
	IdempotencyKey string
	// SendID is the service's id of an on-chain send that somebody else made and that is only followed; empty for one that is ours to make.
	SendID string
}

// ExpiryMargin is how long before the expiry of a BOLT11 its payment no longer starts, so that it does not expire on its way.
const ExpiryMargin = 60 * time.Second

// Obstacle is why a payment does not go on.
type Obstacle struct {
	// Reason is a reason of the conditions.
	Reason  string
	Message string
	// DeadEnd tells that waiting does not help.
	DeadEnd bool
	// RetryAfter is when to look again; 0 leaves it to the events of what is waited for.
	RetryAfter time.Duration
}

func deadEnd(reason, format string, arguments ...any) *Obstacle {
	return &Obstacle{Reason: reason, Message: fmt.Sprintf(format, arguments...), DeadEnd: true}
}

// LightningRecordName is the name of the record of the payment of a BOLT11, from its payment hash in hex. It holds no wallet: the
// same BOLT11 paid from two wallets is a double payment too.
func LightningRecordName(paymentHash string) string { return "ln-" + paymentHash }

// OnchainRecordName is the name of the record of an on-chain order. It depends on nothing but the manifest, so that it is known also
// where the wallet is not.
func OnchainRecordName(namespace, name, wallet, idempotencyKey string) string {
	return "oc-" + digest("onchain", namespace, name, wallet, idempotencyKey)
}

// InvoicePinName is the name of the record of what a payment's invoiceFrom was resolved to.
func InvoicePinName(namespace, name string) string { return "pin-" + digest("pin", namespace, name) }

// OrderClaimName is the name of the record of what a service takes for one on-chain order: it merges equal ones, of any wallet.
func (o *Order) OrderClaimName() string {
	asset := "bitcoin"
	if o.Asset != nil {
		asset = o.Asset.ID + " " + strconv.FormatInt(o.Asset.Amount, 10)
	}
	return "of-" + digest("order", o.Wallet.Server, o.Destination, strconv.FormatInt(int64(o.AmountSats), 10), asset,
		strconv.FormatInt(int64(o.FeeRate), 10))
}

// SendClaimName is the name of the record of one send id of a service: the id itself where a name can hold it, else, behind an x that
// no id in a name starts with, its digest.
func SendClaimName(sendID string) string {
	if len(sendID) > 0 && len(sendID) <= 100 && strings.Trim(sendID, "0123456789abcdefghijklmnopqrstuvwxyz-") == "" &&
		!strings.HasSuffix(sendID, "-") && !strings.HasPrefix(sendID, "x") {
		return "sid-" + sendID
	}
	return "sid-x" + digest("send", sendID)
}

// EpochName is the name of the record that marks since when a wallet's records are complete.
func EpochName(xpubVanilla string) string { return "epoch-" + digest("epoch", xpubVanilla) }

// RecordName is the name of the order's record.
func (o *Order) RecordName() string {
	if o.Kind == v1alpha1.RecordLightningPayment {
		return LightningRecordName(o.PaymentHash)
	}
	wallet := o.Wallet.Name
	if o.Wallet.Namespace != "" {
		wallet = o.Wallet.Namespace + "/" + wallet // no name of a Wallet has a slash
	}
	return OnchainRecordName(o.Holder.Namespace, o.Holder.Name, wallet, o.IdempotencyKey)
}

// describe says what is paid to whom.
func (o *Order) describe() string {
	what := fmt.Sprintf("%d sat", o.AmountSats)
	if o.Asset != nil {
		what = fmt.Sprintf("%d of asset %s", o.Asset.Amount, o.Asset.ID)
	}
	return what + " to " + printable(o.Destination, 128)
}

// takenPoll is how often it is looked whether the service shows another payment of a hash no more.
const takenPoll = 10 * time.Minute

// HashTaken is why a Lightning payment is held of whose payment hash the service shows another payment; nil where it does not. One hash may be
// in several invoices, of which a node pays one. What the service leaves out is no difference, and neither is a fee that it may count in.
func (o *Order) HashTaken(seen Sighting) *Obstacle {
	if o.Kind != v1alpha1.RecordLightningPayment || seen.Presence != Outbound {
		return nil
	}
	other := ""
	switch asset, sats := seen.Asset, seen.AmountSats; {
	case isPublicKey(seen.Payee) && !strings.EqualFold(seen.Payee, o.Destination):
		other = "it goes to " + seen.Payee
	case asset != nil && isAssetID(asset.ID) && (o.Asset == nil || asset.ID != o.Asset.ID):
		other = "it is of asset " + asset.ID
	case asset != nil && o.Asset != nil && asset.ID == o.Asset.ID && asset.Amount > 0 && asset.Amount != o.Asset.Amount:
		other = fmt.Sprintf("it is of %d of the asset, asked for are %d", asset.Amount, o.Asset.Amount)
	case asset == nil && o.Asset == nil && sats != nil && o.AmountSats > 0 && !o.comesTo(amount.Sat(*sats), seen.FeeSats):
		other = fmt.Sprintf("it is of %d sat, asked for are %d", *sats, o.AmountSats)
	default:
		return nil
	}
	return &Obstacle{
		Reason: v1alpha1.ReasonAmountMismatch, RetryAfter: takenPoll,
		Message: "the service shows another payment of the payment hash of this invoice: " + other +
			"; this one is not taken for paid, and nothing was sent by this resource: ask the payee for an invoice with a hash of its own, or delete this resource",
	}
}

// comesTo reports whether sats, which a service says were paid, are the amount of the order, with or without a fee. 0 says nothing.
func (o *Order) comesTo(sats amount.Sat, fee *int64) bool {
	highest := o.MaxFeeSats
	if fee != nil {
		highest = max(highest, amount.Sat(*fee))
	}
	return sats <= 0 || o.AmountSats <= sats && sats-o.AmountSats-1 <= highest // what is less than a sat may be counted as one
}

func isPublicKey(text string) bool {
	key, err := hex.DecodeString(text)
	return err == nil && len(key) == 33 && (key[0] == 2 || key[0] == 3)
}

// digest is the SHA-256, in hex, of parts, each preceded by its length so that no two lists of parts give the same bytes.
func digest(parts ...string) string {
	hash := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(hash, "%d:%s", len(part), part)
	}
	return hex.EncodeToString(hash.Sum(nil))
}

// RecordSpec is the order as its record keeps it.
func (o *Order) RecordSpec() v1alpha1.PaymentRecordSpec {
	sats := int64(o.AmountSats)
	startBefore := metav1.NewTime(o.StartBefore.Truncate(time.Second))
	return v1alpha1.PaymentRecordSpec{
		Kind:           o.Kind,
		Wallet:         o.Wallet,
		PaymentRequest: o.PaymentRequest,
		PaymentHash:    o.PaymentHash,
		Destination:    o.Destination,
		AmountSats:     &sats,
		Asset:          o.Asset,
		MaxFeeSats:     int64(o.MaxFeeSats),
		FeeRate:        int64(o.FeeRate),
		StartBefore:    &startBefore,
		RequestID:      o.SendID,
	}
}

// SendClaim is the record by which a send id of the service becomes that of the payment with record: its name, and what is in it. attempt is the one
// that was answered with it, from 1; 0 for a send that is only followed.
func SendClaim(record *v1alpha1.PaymentRecord, holder v1alpha1.RecordHolder, sendID string, attempt int32,
) (string, v1alpha1.PaymentRecordSpec, v1alpha1.PaymentJournal) {
	spec := v1alpha1.PaymentRecordSpec{Kind: v1alpha1.RecordSendClaim, Wallet: record.Spec.Wallet, RequestID: sendID, RecordRef: record.Name}
	return SendClaimName(sendID), spec, v1alpha1.PaymentJournal{Phase: v1alpha1.RecordHeld, Holder: holder, Attempt: attempt}
}

// Answers reports whether claim, of a send id, tells that a submission of the payment with record was answered with it. One that was made to
// follow a send, under the same name, tells nothing of a submission.
func Answers(claim, record *v1alpha1.PaymentRecord) bool {
	return claim.Spec.RecordRef == record.Name && claim.Journal.Attempt > 0
}

// SameHolder reports whether a and b are one resource, or one created again under the name of the other.
func SameHolder(a, b v1alpha1.RecordHolder) bool {
	return a.Kind == b.Kind && a.Namespace == b.Namespace && a.Name == b.Name
}

// SameWallet reports whether a and b are one wallet at one service, so that what the service says of a payment counts.
func SameWallet(a, b v1alpha1.RecordWallet) bool {
	return a.MasterFingerprint == b.MasterFingerprint && a.XpubVanilla == b.XpubVanilla && a.Server == b.Server
}

// ForeignNamespace is the namespace of the Wallet that a resource in namespace names; empty where it is the same one.
func ForeignNamespace(namespace string, reference v1alpha1.WalletReference) string {
	if reference.Namespace == namespace {
		return ""
	}
	return reference.Namespace
}

// NewLightningOrder makes an order of a payment and the BOLT11 that it pays. The obstacle, where there is one, is a dead end; the
// order is returned with it as far as the BOLT11 could be read, since a record of it may exist.
func NewLightningOrder(pay *v1alpha1.LightningPayment, paymentRequest string, network bitcoin.Network, wallet v1alpha1.RecordWallet,
	now time.Time,
) (*Order, *Obstacle) {
	invoice, err := bolt11.Decode(paymentRequest)
	if err != nil {
		return nil, deadEnd(v1alpha1.ReasonInvalidInvoice, "the invoice cannot be read: %v", err)
	}
	order := &Order{
		Kind:           v1alpha1.RecordLightningPayment,
		Holder:         v1alpha1.RecordHolder{Kind: "LightningPayment", Namespace: pay.Namespace, Name: pay.Name, UID: string(pay.UID)},
		Wallet:         wallet,
		PaymentRequest: paymentRequest,
		PaymentHash:    invoice.PaymentHashHex(),
		Destination:    hex.EncodeToString(invoice.Payee[:]),
		MaxFeeSats:     defaultSats(pay.Spec.MaxFeeSats, 3000),
		StartBefore:    invoice.ExpiresAt().Add(-ExpiryMargin),
	}
	if until := pay.Spec.ValidUntil; until != nil && until.Time.Before(order.StartBefore) {
		order.StartBefore = until.Time
	}
	if sats, given, err := invoice.AmountSats(); err == nil && given {
		order.AmountSats = sats
	}
	// What is no id of an asset is no payable invoice, see below, and nothing that a status could show.
	if asset := invoice.Asset; asset != nil && isAssetID(asset.ID) {
		order.Asset = &v1alpha1.AssetAmount{ID: asset.ID, Amount: int64(asset.Amount)}
	}
	terms := bolt11.Terms{Network: network, Now: now, Margin: ExpiryMargin}
	if pay.Spec.AmountSats != nil {
		guard := amount.Sat(*pay.Spec.AmountSats)
		terms.AmountSats = &guard
	}
	if pay.Spec.Asset != nil {
		terms.Asset = &bolt11.Asset{ID: pay.Spec.Asset.ID, Amount: uint64(pay.Spec.Asset.Amount)}
	}
	if err := invoice.CheckPayable(terms); err != nil {
		return order, refusedInvoice(invoice, err)
	}
	return order, elapsed(order, now)
}

// NewOnchainOrder makes an order of an on-chain send. The obstacle, where there is one, is a dead end.
func NewOnchainOrder(send *v1alpha1.OnchainSend, network bitcoin.Network, wallet v1alpha1.RecordWallet, now time.Time) (*Order, *Obstacle) {
	order := &Order{
		Kind:           v1alpha1.RecordOnchainSend,
		Holder:         v1alpha1.RecordHolder{Kind: "OnchainSend", Namespace: send.Namespace, Name: send.Name, UID: string(send.UID)},
		Wallet:         wallet,
		Asset:          send.Spec.Asset,
		MaxFeeSats:     defaultSats(send.Spec.MaxFeeSats, 10000),
		FeeRate:        amount.SatPerVByte(send.Spec.FeeRate),
		StartBefore:    send.Spec.ValidUntil.Time,
		IdempotencyKey: send.Spec.IdempotencyKey,
		SendID:         send.Spec.SendID,
	}
	order.Wallet.Name, order.Wallet.Namespace = send.Spec.WalletRef.Name, ForeignNamespace(send.Namespace, send.Spec.WalletRef)
	order.Destination = canonicalDestination(send.Spec.To)
	if send.Spec.To.RGBInvoice != "" {
		if obstacle := checkRGBInvoice(send, network, now); obstacle != nil {
			return order, obstacle
		}
		return order, elapsed(order, now)
	}
	if send.Spec.AmountSats != nil {
		order.AmountSats = amount.Sat(*send.Spec.AmountSats)
	}
	address, err := bitcoin.ParseAddress(send.Spec.To.Address, network)
	if err != nil {
		return order, refusedAddress(err)
	}
	if dust := bitcoin.DustLimit(address.Script); order.AmountSats < dust {
		return order, deadEnd(v1alpha1.ReasonAmountMismatch,
			"%d sat are dust for this address: nodes relay no less than %d; declare more in a new OnchainSend", order.AmountSats, dust)
	}
	return order, elapsed(order, now)
}

func isAssetID(text string) bool {
	_, err := rgb.ParseAssetID(text)
	return err == nil
}

// maxDestination is how long a destination may be in a record, in bytes.
const maxDestination = 2048

// canonicalDestination is a destination in one spelling, so that one destination is one order; as it stands where it cannot be read, or
// where that spelling is longer than a record holds, of which nothing is paid.
func canonicalDestination(to v1alpha1.OnchainDestination) string {
	if to.RGBInvoice != "" {
		if invoice, err := rgb.ParseInvoice(to.RGBInvoice); err == nil && len(invoice.String()) <= maxDestination {
			return invoice.String()
		}
		return to.RGBInvoice
	}
	return CanonicalAddress(to.Address)
}

// CanonicalAddress is a bitcoin address in one spelling; as it stands where it cannot be read.
func CanonicalAddress(text string) string {
	networks, err := bitcoin.AddressNetworks(text)
	if err != nil || len(networks) == 0 {
		return text
	}
	address, err := bitcoin.ParseAddress(text, networks[0])
	if err != nil {
		return text
	}
	return address.Text
}

func checkRGBInvoice(send *v1alpha1.OnchainSend, network bitcoin.Network, now time.Time) *Obstacle {
	if send.Spec.Asset == nil {
		return deadEnd(v1alpha1.ReasonInvalidSpec, "an rgbInvoice is sent an asset: declare spec.asset in a new OnchainSend")
	}
	if _, err := rgb.ParseAssetID(send.Spec.Asset.ID); err != nil {
		return deadEnd(v1alpha1.ReasonInvalidSpec, "spec.asset.id is no RGB contract id: %v", err)
	}
	invoice, err := rgb.ParseInvoice(send.Spec.To.RGBInvoice)
	if err != nil {
		return deadEnd(v1alpha1.ReasonInvalidInvoice, "the RGB invoice cannot be read: %v", err)
	}
	if long := len(invoice.String()); long > maxDestination {
		return deadEnd(v1alpha1.ReasonInvalidInvoice, "the RGB invoice has %d characters in its usual spelling, more than %d", long, maxDestination)
	}
	err = invoice.Check(rgb.Terms{Network: network, AssetID: send.Spec.Asset.ID, Amount: send.Spec.Asset.Amount, Now: now})
	if err != nil {
		return refusedRGBInvoice(err)
	}
	return nil
}

// elapsed returns the dead end of an order whose time to start is over.
func elapsed(order *Order, now time.Time) *Obstacle {
	if now.Before(order.StartBefore) {
		return nil
	}
	if order.SendID != "" {
		return deadEnd(v1alpha1.ReasonValidityElapsed, "the service showed no send %s before spec.validUntil, and nothing is sent by this resource; "+
			"declare a new one if it is to be looked for again", printable(order.SendID, 128))
	}
	return deadEnd(v1alpha1.ReasonValidityElapsed,
		"the time in which this payment may start is over, and nothing was sent; declare a new one if it is still wanted")
}

func defaultSats(value *int64, otherwise amount.Sat) amount.Sat {
	if value == nil {
		return otherwise
	}
	return amount.Sat(*value)
}
