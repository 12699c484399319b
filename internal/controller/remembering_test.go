package controller_test

import (
	"context"
	"fmt"
	"reflect"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// memory holds what was read since the last write.
type memory struct {
	mutex   sync.Mutex
	objects map[string]runtime.Object
	// writes counts those begun and those done.
	writes int
}

// remembering is api, which answers a Get from memory where nothing was written through it since the same was read: as a manager's cache
// does, but never outdated. Most passes change nothing, and a third of what the API server did was to say so.
func remembering(api client.WithWatch) client.WithWatch {
	m := &memory{objects: map[string]runtime.Object{}}
	return interceptor.NewClient(api, interceptor.Funcs{
		Get: m.get,
		Create: func(ctx context.Context, c client.WithWatch, object client.Object, opts ...client.CreateOption) error {
			return m.write(func() error { return c.Create(ctx, object, opts...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, object client.Object, opts ...client.UpdateOption) error {
			return m.write(func() error { return c.Update(ctx, object, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch, opts ...client.PatchOption) error {
			return m.write(func() error { return c.Patch(ctx, object, patch, opts...) })
		},
		Apply: func(ctx context.Context, c client.WithWatch, object runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			return m.write(func() error { return c.Apply(ctx, object, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, object client.Object, opts ...client.DeleteOption) error {
			return m.write(func() error { return c.Delete(ctx, object, opts...) })
		},
		DeleteAllOf: func(ctx context.Context, c client.WithWatch, object client.Object, opts ...client.DeleteAllOfOption) error {
			return m.write(func() error { return c.DeleteAllOf(ctx, object, opts...) })
		},
		SubResourceCreate: func(ctx context.Context, c client.Client, name string, object, created client.Object, opts ...client.SubResourceCreateOption) error {
			return m.write(func() error { return c.SubResource(name).Create(ctx, object, created, opts...) })
		},
		SubResourceUpdate: func(ctx context.Context, c client.Client, name string, object client.Object, opts ...client.SubResourceUpdateOption) error {
			return m.write(func() error { return c.SubResource(name).Update(ctx, object, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, name string, object client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			return m.write(func() error { return c.SubResource(name).Patch(ctx, object, patch, opts...) })
		},
	})
}

func (m *memory) get(ctx context.Context, c client.WithWatch, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
	name := fmt.Sprintf("%T %s", object, key)
	m.mutex.Lock()
	known, writes := m.objects[name], m.writes
	m.mutex.Unlock()
	if known != nil {
		reflect.ValueOf(object).Elem().Set(reflect.ValueOf(known.DeepCopyObject()).Elem())
		return nil
	}
	if err := c.Get(ctx, key, object, opts...); err != nil {
		return err
	}
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.writes == writes { // or it may be outdated already
		m.objects[name] = object.DeepCopyObject()
	}
	return nil
}

// write forgets everything before a write and after it: what is read in between may be either.
func (m *memory) write(do func() error) error {
	m.forget()
	defer m.forget()
	return do()
}

func (m *memory) forget() {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	m.writes++
	clear(m.objects)
}
