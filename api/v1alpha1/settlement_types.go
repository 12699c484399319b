package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// SettlementPhase says how far a settlement is.
// +kubebuilder:validation:Enum=Pending;Settling;Succeeded;Failed;Unknown
type SettlementPhase string

// Phases of a settlement. The last three are final.
const (
	// SettlementPending means that the service was not asked yet.
	SettlementPending SettlementPhase = "Pending"
	// SettlementSettling means that the call was recorded, and its outcome is not known yet.
	SettlementSettling SettlementPhase = "Settling"
	// SettlementSucceeded means that the service settled, or had nothing to settle.
	SettlementSucceeded SettlementPhase = "Succeeded"
	// SettlementFailed means that the service refused, or that a channel could not be opened.
	SettlementFailed SettlementPhase = "Failed"
	// SettlementUnknown means that the answer was lost. The service is not asked again.
	SettlementUnknown SettlementPhase = "Unknown"
)

// SettlementSpec declares one settle call. Another settlement is another resource.
// +kubebuilder:validation:XValidation:rule="self.walletRef == oldSelf.walletRef",message="walletRef is immutable: declare a new Settlement"
type SettlementSpec struct {
	// walletRef names the Wallet whose on-chain balance goes into channels. Immutable.
	// +required
	WalletRef WalletReference `json:"walletRef"`

	// ttlSecondsAfterFinished after which the resource is deleted, once it
	// succeeded or failed. One whose answer was lost stays for somebody to see.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=315360000
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`
}

// SettledChannel is what became of one channel that the service meant to open.
type SettledChannel struct {
	// type of the channel, in the service's word: btc or asset.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Type string `json:"type,omitempty"`

	// assetID of an asset channel.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	AssetID string `json:"assetID,omitempty"`

	// capacitySats of the channel, in sat.
	// +optional
	CapacitySats *int64 `json:"capacitySats,omitempty"`

	// assetAmount in the channel, in the asset's smallest unit.
	// +optional
	AssetAmount *int64 `json:"assetAmount,omitempty"`

	// feeReserveSats that was kept back for fees, in sat.
	// +optional
	FeeReserveSats *int64 `json:"feeReserveSats,omitempty"`

	// error with which the channel could not be opened.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Error string `json:"error,omitempty"`
}

// SettlementStatus is what became of a settlement.
type SettlementStatus struct {
	// observedGeneration is the generation of the spec that this status is about; -1 before the first look.
	// +optional
	// +default=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// phase: Pending, Settling, Succeeded, Failed or Unknown.
	// +optional
	Phase SettlementPhase `json:"phase,omitempty"`

	// results are the channels that the service opened or failed to open, at most
	// 100. A service need not name any.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Results []SettledChannel `json:"results,omitempty"`

	// channelsOpened is how many channels the service says that it opened.
	// +optional
	ChannelsOpened *int64 `json:"channelsOpened,omitempty"`

	// recordRef names the PaymentRecord in the operator's namespace.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	RecordRef string `json:"recordRef,omitempty"`

	// completedAt is when the outcome became known.
	// +optional
	CompletedAt *metav1.Time `json:"completedAt,omitempty"`

	// conditions: Ready, Reconciling, Stalled, Succeeded.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Settlement asks the service once to move a wallet's on-chain balance into
// Lightning channels, as a Job runs once.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=settle,categories=utexo
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Channels",type=integer,JSONPath=`.status.channelsOpened`
// +kubebuilder:printcolumn:name="Wallet",type=string,JSONPath=`.spec.walletRef.name`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Settlement struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec declares the settlement. Another settlement is another resource.
	// +required
	Spec SettlementSpec `json:"spec"`

	// status is what became of it.
	// +optional
	// +default={"observedGeneration": -1, "conditions": [{"type": "Ready", "status": "Unknown", "reason": "Pending", "message": "waiting for the operator", "lastTransitionTime": "1970-01-01T00:00:00Z"}]}
	Status SettlementStatus `json:"status,omitempty"`
}

// SettlementList is a list of Settlements.
// +kubebuilder:object:root=true
type SettlementList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Settlement `json:"items"`
}
