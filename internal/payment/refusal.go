package payment

import (
	"errors"
	"strings"
	"time"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/rgb"
)

// refusedInvoice turns a refusal of invoice, which is readable, into the obstacle that the payment shows.
func refusedInvoice(invoice *bolt11.Invoice, err error) *Obstacle {
	refusal, ok := errors.AsType[*bolt11.Refusal](err)
	if !ok {
		return deadEnd(v1alpha1.ReasonInvalidInvoice, "%v", err)
	}
	reason := v1alpha1.ReasonInvalidInvoice
	switch refusal.Reason {
	case bolt11.WrongNetwork:
		reason = v1alpha1.ReasonWrongNetwork
	case bolt11.Expired:
		// One message before and after that instant: a dead end does not change by itself.
		return deadEnd(v1alpha1.ReasonInvoiceExpired,
			"the invoice expires, or expired, at %s, and no payment is begun later than %s before; nothing was sent: ask for a new one",
			invoice.ExpiresAt().Format(time.RFC3339), ExpiryMargin)
	case bolt11.AmountMismatch, bolt11.AssetMismatch:
		reason = v1alpha1.ReasonAmountMismatch
	}
	return deadEnd(reason, "%s", refusal.Message)
}

// refusedAddress turns the refusal of an address into the obstacle that the send shows.
func refusedAddress(err error) *Obstacle {
	if refusal, ok := errors.AsType[*bitcoin.AddressError](err); ok && refusal.Reason == bitcoin.WrongNetwork {
		return deadEnd(v1alpha1.ReasonWrongNetwork, "%s", refusal.Message)
	}
	return deadEnd(v1alpha1.ReasonInvalidAddress, "the address cannot be paid: %v", err)
}

// refusedRGBInvoice turns a refusal of a readable RGB invoice into the obstacle that the send shows.
func refusedRGBInvoice(err error) *Obstacle {
	reason := v1alpha1.ReasonInvalidInvoice
	if refusal, ok := errors.AsType[*rgb.Refusal](err); ok {
		switch refusal.Reason {
		case rgb.WrongNetwork:
			reason = v1alpha1.ReasonWrongNetwork
		case rgb.Expired:
			reason = v1alpha1.ReasonInvoiceExpired
		case rgb.WrongAsset, rgb.AmountMismatch:
			reason = v1alpha1.ReasonAmountMismatch
		}
	}
	return deadEnd(reason, "%v", err)
}

// printable returns at most limit characters of text, without what could disturb a terminal or a log.
func printable(text string, limit int) string {
	return Limit(strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text), limit)
}

// limit cuts a message to what a condition's message should be.
func limit(message string) string { return Limit(message, 512) }

// Limit cuts text to size bytes, at a character's border.
func Limit(text string, size int) string {
	if len(text) <= size {
		return text
	}
	return strings.ToValidUTF8(text[:size], "")
}

// limitAll returns the first count of texts, each cut to size bytes.
func limitAll(texts []string, count, size int) []string {
	var kept []string
	for _, text := range texts[:min(len(texts), count)] {
		kept = append(kept, Limit(text, size))
	}
	return kept
}
