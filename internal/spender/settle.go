package spender

import (
	"context"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/settlement"
	"github.com/utexo/utexo-operator/internal/utexo"
	"github.com/utexo/utexo-operator/internal/walletlock"
)

// What a record holds at most of a settlement's answer.
const (
	maxChannels    = 100
	maxChannelText = 512
)

// Settle makes the one settle call of a Settlement in the wallet's critical section, since it spends what a begun payment may count on.
// An error is one of the API server's.
func (s *Spender) Settle(ctx context.Context, last *v1alpha1.PaymentRecord, session *Session, permit Permit) (Result, error) {
	v := &visit{Spender: s, session: session, permit: permit, stopping: ctx, result: Result{Record: last}, clean: true}
	intent := s.intent(walletlock.Settle, last.Name, last.Journal.Attempt+1, endWindow)
	entered, err := v.enter(intent)
	if !entered || err != nil {
		return v.result, err
	}
	defer v.leave()
	err = v.settle(context.WithoutCancel(ctx), intent)
	return v.result, err
}

func (v *visit) settle(ctx context.Context, intent walletlock.Inflight) error {
	if v.stopping.Err() != nil {
		v.result.Held = &shuttingDown
		return nil
	}
	obstacle, err := v.permit(ctx)
	if obstacle != nil || err != nil {
		v.result.Held = obstacle
		return err
	}
	record, err := v.writeAhead(ctx, v.result.Record, settlement.Asking(v.result.Record.Journal, v.Clock.Now(), intent.NotAfter.Time))
	if err != nil {
		return err // and nothing was called
	}
	v.result.Record, v.clean = record, false
	answer, callErr := v.session.Service.Settle(ctx, intent.NotAfter.Time)
	refused, nothingDone := payment.Obstacle{}, false
	if callErr != nil {
		refused, nothingDone = refusal(callErr)
	}
	err = v.conclude(ctx, func(journal v1alpha1.PaymentJournal) (v1alpha1.PaymentJournal, []payment.Event) {
		now := v.Clock.Now()
		switch {
		case callErr == nil:
			return payment.Answered(settlement.Answered(journal, answered(answer), now)), nil
		case nothingDone:
			return payment.Answered(payment.Refused(journal, refused, v.Policy, now)), nil
		}
		return settlement.Lost(journal, now), nil
	})
	v.clean = err == nil && (callErr == nil || nothingDone)
	return err
}

// answered is what a record keeps of the service's answer.
func answered(result utexo.SettleResult) settlement.Answer {
	answer := settlement.Answer{ChannelsOpened: result.ChannelsOpened, Refusal: result.Refusal}
	if result.RefusalMessage != "" {
		answer.Refusal = result.Refusal + ": " + result.RefusalMessage
	}
	for _, channel := range result.Channels[:min(len(result.Channels), maxChannels)] {
		answer.Channels = append(answer.Channels, v1alpha1.SettledChannel{
			Type: payment.Limit(channel.Type, 64), AssetID: payment.Limit(channel.AssetID, 128), CapacitySats: channel.CapacitySats,
			AssetAmount: channel.AssetAmount, FeeReserveSats: channel.FeeReserveSats, Error: payment.Limit(channel.Error, maxChannelText),
		})
	}
	return answer
}
