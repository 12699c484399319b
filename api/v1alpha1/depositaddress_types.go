package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// AddressRotation says what a DepositAddress does when the service hands out another address.
// +kubebuilder:validation:Enum=OnUse;Never
type AddressRotation string

// Address rotations.
const (
	// RotateOnUse follows the service, which hands out another address once one was used.
	RotateOnUse AddressRotation = "OnUse"
	// RotateNever stays with the first address. The asset invoice, which expires, is still replaced.
	RotateNever AddressRotation = "Never"
)

// DepositAddressSpec declares where a wallet is paid on-chain.
// +kubebuilder:validation:XValidation:rule="self.walletRef == oldSelf.walletRef",message="walletRef is immutable: declare a new DepositAddress"
type DepositAddressSpec struct {
	// walletRef names the Wallet that is paid. Immutable.
	// +required
	WalletRef WalletReference `json:"walletRef"`

	// rotation: OnUse (default) follows the service to another address once one
	// was used, and keeps the old ones in the history; Never stays with the first
	// address.
	// +optional
	// +default="OnUse"
	Rotation AddressRotation `json:"rotation,omitempty"`
}

// RetiredAddress is what a DepositAddress showed before.
type RetiredAddress struct {
	// address that was shown.
	// +required
	// +kubebuilder:validation:MaxLength=128
	Address string `json:"address"`

	// assetInvoice that was shown with it.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	AssetInvoice string `json:"assetInvoice,omitempty"`

	// retiredAt is when the operator saw that the service hands out something else.
	// +required
	RetiredAt metav1.Time `json:"retiredAt"`
}

// DepositAddressStatus is where a wallet can be paid now.
type DepositAddressStatus struct {
	// observedGeneration is the generation of the spec that this status is about; -1 before the first look.
	// +optional
	// +default=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// address to send bitcoin to. Whose it is the service alone says: it is
	// checked for its network, and some services hand out one address to all of
	// their wallets.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Address string `json:"address,omitempty"`

	// assetInvoice is an RGB invoice to send assets to. Whose it is the service alone says.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	AssetInvoice string `json:"assetInvoice,omitempty"`

	// expiresAt is when the asset invoice expires, as the invoice itself says or
	// else the service. It may be replaced earlier.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`

	// history of what was shown before, newest first, at most 100 entries.
	// Whether what is paid there still counts for the wallet is for the service to
	// say.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	History []RetiredAddress `json:"history,omitempty"`

	// conditions: Ready, Reconciling, Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// DepositAddress shows where a wallet can be paid on-chain, in bitcoin and in assets.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=depositaddresses,shortName=dep,categories=utexo
// +kubebuilder:printcolumn:name="Address",type=string,JSONPath=`.status.address`
// +kubebuilder:printcolumn:name="Wallet",type=string,JSONPath=`.spec.walletRef.name`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Invoice Expires",type=string,format=date-time,JSONPath=`.status.expiresAt`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Asset Invoice",type=string,JSONPath=`.status.assetInvoice`,priority=1
type DepositAddress struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec declares whose address.
	// +required
	Spec DepositAddressSpec `json:"spec"`

	// status is the address.
	// +optional
	// +default={"observedGeneration": -1, "conditions": [{"type": "Ready", "status": "Unknown", "reason": "Pending", "message": "waiting for the operator", "lastTransitionTime": "1970-01-01T00:00:00Z"}]}
	Status DepositAddressStatus `json:"status,omitempty"`
}

// DepositAddressList is a list of DepositAddresses.
// +kubebuilder:object:root=true
type DepositAddressList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []DepositAddress `json:"items"`
}
