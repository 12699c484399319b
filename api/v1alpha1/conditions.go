package v1alpha1

// Condition types. kstatus, by which Flux, Argo CD and Helm judge health, understands Ready, Reconciling and Stalled.
const (
	// ConditionReady is True when what was declared is so: an invoice is open or settled, a payment succeeded, a wallet is in
	// sync; Unknown while in progress; False at a dead end.
	ConditionReady = "Ready"
	// ConditionReconciling is present, and True, only while progress is expected, by itself or from whom the message names.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is present, and True, only while nothing more happens until somebody acts.
	ConditionStalled = "Stalled"
	// ConditionSettled tells of a LightningInvoice whether it was paid. Unknown means not known yet.
	ConditionSettled = "Settled"
	// ConditionPublished tells of a LightningInvoice with publishTo whether the Secret or ConfigMap says what can be paid now.
	ConditionPublished = "Published"
	// ConditionSucceeded tells of a payment whether the money moved. Unknown means not known yet, or not knowable.
	ConditionSucceeded = "Succeeded"
	// ConditionOutcomeKnown is False only where money may have moved and the operator cannot find out.
	ConditionOutcomeKnown = "OutcomeKnown"
	// ConditionApproved tells of a payment, where the Wallet demands approvals, whether it has them.
	ConditionApproved = "Approved"
	// ConditionRegistered tells of a Wallet whether the service knows it.
	ConditionRegistered = "Registered"
	// ConditionSignerReady tells of a Wallet whether its payments can be signed.
	ConditionSignerReady = "SignerReady"
	// ConditionSynced tells of a Wallet whether balance and assets in its status are fresh.
	ConditionSynced = "Synced"
)

// Reasons of progress: with Ready=Unknown (a payment, an invoice) or False (a wallet) and Reconciling=True.
const (
	// ReasonPending is the reason that the API server gives a new object before the operator has seen it.
	ReasonPending = "Pending"
	// ReasonProgressing means that work goes on by itself.
	ReasonProgressing = "Progressing"
	// ReasonWalletNotFound means that the Wallet that walletRef names does not exist in the namespace. Create it.
	ReasonWalletNotFound = "WalletNotFound"
	// ReasonWalletNotReady means that the Wallet exists but is not Ready. Its own conditions say why.
	ReasonWalletNotReady = "WalletNotReady"
	// ReasonWalletBusy means that another payment is in the wallet's critical section. It passes by itself.
	ReasonWalletBusy = "WalletBusy"
	// ReasonWalletQuarantined means that an earlier call on this wallet ended unclearly and may still land: nothing new begins
	// on it until it cannot land any more. It passes by itself.
	ReasonWalletQuarantined = "WalletQuarantined"
	// ReasonWalletChanged means that the Wallet now names other keys or another service than those with which this payment was
	// started, so that nobody can tell its outcome. Set them back.
	ReasonWalletChanged = "WalletChanged"
	// ReasonReferenceNotFound means that an object or key that the spec refers to does not exist. Create it.
	ReasonReferenceNotFound = "ReferenceNotFound"
	// ReasonInsufficientBalance means that the service refused for lack of funds. Nothing was sent; it is tried again.
	ReasonInsufficientBalance = "InsufficientBalance"
	// ReasonSubmitting means that the call that moves money was recorded and made, and its answer is not known yet.
	ReasonSubmitting = "Submitting"
	// ReasonInFlight means that the service accepted the payment and it is neither complete nor failed.
	ReasonInFlight = "InFlight"
	// ReasonServiceUnavailable means that the service did not give a usable answer. Nothing is lost; it is asked again.
	ReasonServiceUnavailable = "ServiceUnavailable"
	// ReasonSuspended means that spec.suspend, the payment's or the wallet's, holds it, or spec.mode is not Apply any more. Set it to
	// false, or the mode to Apply.
	ReasonSuspended = "Suspended"
	// ReasonSignerNotAvailable means that the Wallet has nobody to sign with (watch only), or that its signer gives no usable answer,
	// in which case it is asked again. Nothing was sent, but in phase Submitting: there the answer was lost, and the same submission waits
	// for its signature.
	ReasonSignerNotAvailable = "SignerNotAvailable"
	// ReasonWalletNotAllowed means that walletRef names a Wallet of another namespace that does not exist or does not allow this one. Its
	// owner sets spec.allowedNamespaces.
	ReasonWalletNotAllowed = "WalletNotAllowed"
	// ReasonShardMismatch means that the resource and its Wallet have different labels payments.utexo.com/shard, or only one of them has
	// it, so that no manager works on both. It goes on by itself once they agree.
	ReasonShardMismatch = "ShardMismatch"
	// ReasonLimitExceeded means that the payment is above a limit of the Wallet. Raise spec.limits, or declare a smaller payment.
	ReasonLimitExceeded = "LimitExceeded"
	// ReasonDestinationNotAllowed means that the Wallet's spec.limits.allowedDestinations does not list whom the payment pays.
	ReasonDestinationNotAllowed = "DestinationNotAllowed"
	// ReasonBudgetExceeded means that the Wallet's spec.limits.dailySats does not leave enough now. It starts by itself once it does.
	ReasonBudgetExceeded = "BudgetExceeded"
	// ReasonAwaitingApproval means that the Wallet demands approvals that are not there yet. Whoever holds the verb approve on the Wallet
	// creates a PaymentApproval of status.plan.hash.
	ReasonAwaitingApproval = "AwaitingApproval"
	// ReasonAwaitingSignature means that people have to sign: the Wallet's signer is Manual. Whoever holds the verb sign on the Wallet
	// creates a PaymentSignature of status.signing.psbt before status.signing.expiresAt.
	ReasonAwaitingSignature = "AwaitingSignature"
	// ReasonSignatureRejected means that a PaymentSignature of the current attempt is no signature of status.signing.psbt. The message says
	// why. Nothing was sent; create another.
	ReasonSignatureRejected = "SignatureRejected"
	// ReasonNotSeen means that the service does not show the payment or send that is to be observed. It is looked for again.
	ReasonNotSeen = "NotSeen"
	// ReasonJournalLost means that records of earlier payments are missing although the service shows payments, or that of this send alone
	// although its status names it, so that an on-chain send might be a repetition. An administrator sets the Wallet's spec.acknowledgedEpoch.
	// Of a LightningPayment with an invoiceFrom: that it may have paid another invoice than is there now. Whether it did is looked up by its
	// payment hash.
	ReasonJournalLost = "JournalLost"
	// ReasonSourceLost means that the service no longer knows the invoice by its id (it was restarted); what is known is kept,
	// and a payment would be found by its payment hash.
	ReasonSourceLost = "StatusSourceLost"
	// ReasonPeriodNotOver means that the Statement's period has not ended yet, or just has: its document is written ten minutes after.
	ReasonPeriodNotOver = "PeriodNotOver"
	// ReasonDocumentNameTaken means that a ConfigMap of the name that a Statement's document gets is there and is not the Statement's.
	// Delete it, or declare the Statement under another name.
	ReasonDocumentNameTaken = "DocumentNameTaken"
)

// Reasons of what is done: with Ready=True.
const (
	// ReasonOpen means that the invoice can be paid.
	ReasonOpen = "Open"
	// ReasonSettled means that the invoice was paid.
	ReasonSettled = "Settled"
	// ReasonSucceeded means that the payment was made.
	ReasonSucceeded = "Succeeded"
	// ReasonPlanned means that status.plan says what would happen, and that nothing more is asked for. Set spec.mode to Apply.
	ReasonPlanned = "Planned"
	// ReasonApproved means, of the condition Approved, that all approvals that the Wallet demands are there.
	ReasonApproved = "Approved"
	// ReasonAddressIssued means that there is an address to pay to.
	ReasonAddressIssued = "AddressIssued"
	// ReasonSettlementDone means that the service settled, or had nothing to settle.
	ReasonSettlementDone = "SettlementDone"
	// ReasonScheduled means that no period of the Statement's schedule has ended yet.
	ReasonScheduled = "Scheduled"
	// ReasonStatementWritten means that the document of every period that ended is written.
	ReasonStatementWritten = "StatementWritten"
	// ReasonSynced means that the wallet is known to the service and its balance is fresh.
	ReasonSynced = "Synced"
)

// Reasons of a dead end: with Ready=False and Stalled=True. One remedy each.
const (
	// ReasonInvalidInvoice means that the BOLT11 or RGB invoice cannot be read, or must not be paid. Declare another in a new
	// resource. Of a LightningInvoice: the service issued another than was asked for; it is asked again.
	ReasonInvalidInvoice = "InvalidInvoice"
	// ReasonInvalidAddress means that the address cannot be read or must not be paid.
	ReasonInvalidAddress = "InvalidAddress"
	// ReasonWrongNetwork means that the invoice or address is of another network than the wallet.
	ReasonWrongNetwork = "WrongNetwork"
	// ReasonNetworkMismatch means that the service answers for another network than the Wallet declares.
	ReasonNetworkMismatch = "NetworkMismatch"
	// ReasonAmountMismatch means that the invoice asks for another amount or asset than the resource declares, or the send to be
	// observed is another one, or the service shows another payment of the invoice's payment hash.
	ReasonAmountMismatch = "AmountMismatch"
	// ReasonInvoiceExpired means that the invoice expired: paid too late, or never.
	ReasonInvoiceExpired = "InvoiceExpired"
	// ReasonValidityElapsed means that spec.validUntil passed before the payment could start.
	ReasonValidityElapsed = "ValidityElapsed"
	// ReasonFeeTooHigh means that the estimated fee, or the transaction to sign, costs more than spec.maxFeeSats. Nothing was sent.
	ReasonFeeTooHigh = "FeeTooHigh"
	// ReasonDuplicatePayment means that another resource pays, paid or follows the same, or an earlier one of this name ordered
	// something else. Nothing was sent by this one.
	ReasonDuplicatePayment = "DuplicatePayment"
	// ReasonOwnInvoice means that the invoice was issued by the node that would pay it.
	ReasonOwnInvoice = "OwnInvoice"
	// ReasonOrderCollision means that another resource sent, or sends, the same amount to the same destination at the same fee
	// rate, which the service would take for one order. Change the amount by 1 sat, or the fee rate, in a new resource.
	ReasonOrderCollision = "OrderCollision"
	// ReasonPSBTRejected means that the service asked to sign something else than what was declared, or does not prove what becomes of
	// assets. Nothing was signed.
	ReasonPSBTRejected = "PSBTRejected"
	// ReasonSignerRefused means that the Wallet's Remote signer refused to sign, by limits of its own. Nothing was signed or sent; the
	// message is the signer's.
	ReasonSignerRefused = "SignerRefused"
	// ReasonNotSigned means that nobody signed any attempt of the payment in time. Nothing was sent; declare it again once somebody can.
	ReasonNotSigned = "NotSigned"
	// ReasonRequestRefused means that the service refused the request as it is, before any effect.
	ReasonRequestRefused = "RequestRefused"
	// ReasonPaymentFailed means that the payment failed and no money moved.
	ReasonPaymentFailed = "PaymentFailed"
	// ReasonCancelled means that the resource was deleted before anything was sent.
	ReasonCancelled = "Cancelled"
	// ReasonOutcomeUnknown means that money may have moved and the operator cannot find out. A person resolves it.
	ReasonOutcomeUnknown = "OutcomeUnknown"
	// ReasonSettlementRefused means that the service refused to settle, and did nothing. The message says why.
	ReasonSettlementRefused = "SettlementRefused"
	// ReasonChannelNotOpened means that the service settled and could not open a channel. The results say why.
	ReasonChannelNotOpened = "ChannelNotOpened"
	// ReasonAnswerLost means that the answer to a settlement was lost, and that it is not asked for again. Look at the channels, and
	// declare another Settlement if it is still wanted.
	ReasonAnswerLost = "AnswerLost"
	// ReasonListNotAvailable means that the service does not list payments or transfers, so that a Statement on its word would not be
	// complete, and none is written. Declare one with source: Records, or use a service that lists. It is asked again every hour.
	ReasonListNotAvailable = "ListNotAvailable"
	// ReasonListIncomplete means that the service lists something that a Statement needs without its amount, its instant or a kind that
	// is known. The message says which. No document is written; it is asked again every hour.
	ReasonListIncomplete = "ListIncomplete"
	// ReasonInvalidSpec means that the specification cannot work as it is; the message says what to change.
	ReasonInvalidSpec = "InvalidSpec"
	// ReasonInternalError means that an invariant of the operator is broken: a bug.
	ReasonInternalError = "InternalError"
)

// Reasons of a Wallet's own conditions.
const (
	// ReasonSecretNotFound means that the Secret that the Wallet names does not exist.
	ReasonSecretNotFound = "SecretNotFound"
	// ReasonSecretForbidden means that the operator may not read the Secret: it has no cluster-wide access to Secrets, and the
	// namespace grants it those that Wallets name.
	ReasonSecretForbidden = "SecretForbidden"
	// ReasonInvalidKeys means that the Secret holds no usable keys, for example a mnemonic with a typo.
	ReasonInvalidKeys = "InvalidKeys"
	// ReasonInvalidEndpoint means that the endpoint cannot be used as it is declared.
	ReasonInvalidEndpoint = "InvalidEndpoint"
	// ReasonWatchOnly means that the wallet has public keys only: it can receive, not pay.
	ReasonWatchOnly = "WatchOnly"
	// ReasonInvalidSigner means that the remote signer cannot be used as it is declared.
	ReasonInvalidSigner = "InvalidSigner"
	// ReasonSignerMismatch means that the remote signer has other keys, or another network, than the Wallet declares.
	ReasonSignerMismatch = "SignerMismatch"
	// ReasonSignerAnswered means that the remote signer answers, with the wallet's keys.
	ReasonSignerAnswered = "SignerAnswered"
	// ReasonSignedByPeople means that people sign this wallet's payments, each by a PaymentSignature.
	ReasonSignedByPeople = "SignedByPeople"
	// ReasonKeysLoaded means that the wallet's keys were read and can sign.
	ReasonKeysLoaded = "KeysLoaded"
	// ReasonRegistered means that the service knows the wallet.
	ReasonRegistered = "Registered"
	// ReasonNotRegistered means that the service was not yet told of the wallet.
	ReasonNotRegistered = "NotRegistered"
)

// Reasons of the condition Published of a LightningInvoice.
const (
	// ReasonPublished means that the Secret or ConfigMap says what can be paid now.
	ReasonPublished = "Published"
	// ReasonTargetConflict means that there is a Secret or ConfigMap of that name that the LightningInvoice did not make. It is left alone.
	ReasonTargetConflict = "TargetConflict"
	// ReasonTargetForbidden means that the operator may not write the Secret or ConfigMap of an invoice or a statement: the namespace
	// grants it.
	ReasonTargetForbidden = "TargetForbidden"
)

// Reasons of events that are not reasons of a condition too.
const (
	// EventInvoiceSettledLate tells that an invoice was paid after it had expired.
	EventInvoiceSettledLate = "SettledLate"
	// EventWrongOrderExecuted tells that the service executed another order than the one it was sent.
	EventWrongOrderExecuted = "WrongOrderExecuted"
	// EventForeignWriter tells that the service lists payments from the wallet, or from its node, that no record knows: another client or
	// another cluster pays from it, which is not supported, or records were lost.
	EventForeignWriter = "ForeignWriter"
	// EventShardUnserved tells that the Wallet's label names a shard for which no manager runs, so that nothing happens to it.
	EventShardUnserved = "ShardUnserved"
	// EventAssetNotProven tells that a transaction was signed of which it is not proved what becomes of RGB assets, because the Wallet's
	// spec.signer.assetPolicy is Warn.
	EventAssetNotProven = "AssetNotProven"
	// EventFeeAboveCap tells that the service names a higher fee of a payment that it made than maxFeeSats allowed.
	EventFeeAboveCap = "FeeAboveCap"
	// EventFeeDeducted tells that the service took its fee off the amount, so that the recipient got less than declared.
	EventFeeDeducted = "FeeDeducted"
	// EventAdopted tells that the service already has the payment, or shows the send that is followed: its outcome is taken over, and
	// nothing is sent.
	EventAdopted = "Adopted"
	// EventAddressRotated tells that the service hands out another deposit address, since the one before was used.
	EventAddressRotated = "AddressRotated"
	// EventAssetInvoiceReplaced tells that the service replaced the asset invoice of a deposit address before it expired.
	EventAssetInvoiceReplaced = "AssetInvoiceReplaced"
	// EventDocumentWritten tells that a Statement wrote the document of a period, and its digest.
	EventDocumentWritten = "DocumentWritten"
	// EventUnattributedReceipt tells that an invoice was paid whose LightningInvoice was deleted, or is settled by another of its invoices.
	EventUnattributedReceipt = "UnattributedReceipt"
)
