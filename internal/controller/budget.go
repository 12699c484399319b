package controller

import (
	"context"

	"k8s.io/utils/clock"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/limits"
	"github.com/utexo/utexo-operator/internal/record"
)

// Budgets adds up what wallets spent, from the records of what they submitted, which precede every call that moves money.
type Budgets struct {
	Records *record.Store
	Clock   clock.PassiveClock
}

// Standing is what a wallet spent in the last 24 hours leaves of dailySats. It asks the API server, not a cache.
func (b *Budgets) Standing(ctx context.Context, wallet v1alpha1.RecordWallet, dailySats int64) (limits.Standing, error) {
	now := b.Clock.Now()
	submitted, err := b.Records.Submitted(ctx, wallet, now)
	if err != nil {
		return limits.Standing{}, err
	}
	var debits []limits.Debit
	for i := range submitted {
		if debit := limits.DebitOf(&submitted[i]); debit != nil {
			debits = append(debits, *debit)
		}
	}
	return limits.StandingOf(dailySats, debits, now), nil
}
