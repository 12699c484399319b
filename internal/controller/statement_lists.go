package controller

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/statement"
	"github.com/utexo/utexo-operator/internal/utexo"
)

// lister is what a statement asks of the service. Nothing of it moves money.
type lister interface {
	PaymentLister
	Balance(ctx context.Context) (utexo.Balances, error)
	ListTransfers(ctx context.Context, assetID string) ([]utexo.Transfer, error)
}

// listedPayments tells a document of all payments that the service lists, in one call.
func listedPayments(ctx context.Context, service lister, into *statement.Collector) *payment.Obstacle {
	err := service.EachPayment(ctx, func(p utexo.Payment) {
		into.Payment(statement.Payment{
			Hash: p.PaymentHash, Inbound: p.Inbound, State: paymentState(p.Status), AmountMsat: p.AmountMsat, AssetID: p.AssetID,
			AssetAmount: p.AssetAmount, Payee: p.PayeePubkey, CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt,
		})
	})
	if err != nil {
		return unlisted("payments", err)
	}
	return nil
}

// listedAssets are the assets that the wallet holds.
func listedAssets(ctx context.Context, service lister) ([]string, *payment.Obstacle) {
	balances, err := service.Balance(ctx)
	if err != nil {
		return nil, unavailable("the wallet's assets cannot be read", err)
	}
	var assets []string
	for _, asset := range balances.Assets {
		assets = append(assets, asset.AssetID)
	}
	return assets, nil
}

// listedTransfers tells a document of the transfers of assets that the service lists.
func listedTransfers(ctx context.Context, service lister, assets []string, into *statement.Collector) *payment.Obstacle {
	for _, asset := range slices.Compact(slices.Sorted(slices.Values(assets))) {
		if asset == v1alpha1.Bitcoin || asset == "" {
			continue
		}
		transfers, err := service.ListTransfers(ctx, asset)
		if failed, ok := errors.AsType[*utexo.Error](err); ok && failed.Code == utexo.CodeAssetNotFound && failed.Effect == utexo.EffectRefused {
			continue // the wallet never had it
		}
		if err != nil {
			return unlisted("transfers", err)
		}
		for _, t := range transfers {
			into.Transfer(statement.Transfer{
				AssetID: asset, Index: t.Index, Kind: transferKind(t.Kind), State: transferState(t.Status), Amount: t.Amount, Txid: t.Txid,
				RecipientID: t.RecipientID, CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt, ExpiresAt: t.ExpiresAt,
			})
		}
	}
	return nil
}

// unlisted is why a list of the service cannot be had.
func unlisted(what string, err error) *payment.Obstacle {
	if errors.Is(err, utexo.ErrNotAvailable) {
		return &payment.Obstacle{
			Reason: v1alpha1.ReasonListNotAvailable, DeadEnd: true, RetryAfter: listRetry,
			Message: "the service does not list " + what + ", so that the statement would not be complete; " +
				"declare one with source: Records, which has what this operator did",
		}
	}
	return unavailable("the service's "+what+" cannot be listed", err)
}

// paymentState is a payment's state; a word that is not known is Pending.
func paymentState(status utexo.SendStatus) statement.State {
	switch status {
	case utexo.SendSucceeded:
		return statement.Succeeded
	case utexo.SendFailed:
		return statement.Failed
	}
	return statement.Pending
}

// transferState reads the status of a transfer, a word or its number; one that is not known is Pending.
func transferState(status string) statement.State {
	switch strings.ToLower(status) {
	case "2", "settled":
		return statement.Succeeded
	case "3", "failed":
		return statement.Failed
	}
	return statement.Pending
}

// transferKind reads the kind of a transfer, a word or its number.
func transferKind(kind string) statement.TransferKind {
	switch strings.ToLower(kind) {
	case "0", "issuance", "4", "inflation":
		return statement.TransferIssuance
	case "1", "receiveblind", "2", "receivewitness":
		return statement.TransferReceive
	case "3", "send":
		return statement.TransferSend
	}
	return statement.TransferUnknown
}
