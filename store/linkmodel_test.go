package store_test

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/securecam/securecam/store"
	"github.com/securecam/securecam/store/storetest"
)

// linkModel is what the links of one user's devices must be, in memory.
type linkModel struct {
	t       *testing.T
	db      *store.DB
	user    store.User
	by      store.Actor
	devices map[string]store.DeviceRole // by id
	kept    map[string]string           // a recording of what was a camera, by device
	links   map[[2]string]*modelLink    // by camera and client
	streams map[string]*modelView       // that are open
	waiting map[string]*modelView       // commands that are not answered
	revoked int
}

type modelLink struct {
	id     string
	active bool
}

type modelView struct {
	camera, client string
	streaming      bool
	command        string // which asked for the stream, if one did
}

func (m *linkModel) with(role store.DeviceRole) (ids []string) {
	for id, r := range m.devices {
		if r == role {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// pair draws a camera and a client.
func (m *linkModel) pair(t *rapid.T) [2]string {
	cameras, clients := m.with(store.RoleCamera), m.with(store.RoleClient)
	if len(cameras) == 0 || len(clients) == 0 {
		t.Skip("nobody to link")
	}
	return [2]string{rapid.SampledFrom(cameras).Draw(t, "camera"), rapid.SampledFrom(clients).Draw(t, "client")}
}

func (m *linkModel) device(t *rapid.T) string {
	if len(m.devices) == 0 {
		t.Skip("no device")
	}
	return rapid.SampledFrom(slices.Sorted(maps.Keys(m.devices))).Draw(t, "device")
}

func (m *linkModel) isActive(pair [2]string) bool {
	return m.links[pair] != nil && m.links[pair].active
}

// register adds a device, which is linked with all of the other role.
func (m *linkModel) register(t *rapid.T) {
	if len(m.devices) >= 5 {
		t.Skip("enough")
	}
	role := rapid.SampledFrom([]store.DeviceRole{store.RoleCamera, store.RoleClient}).Draw(t, "role")
	at := storetest.Now()
	d := store.Device{
		ID: storetest.ID(), UserID: m.user.ID, Name: "x", Role: role, Status: store.DeviceOnline, RecordingPolicy: store.RecordOff,
		TokenKeyID: storetest.ID(), LastSeenAt: at, CreatedAt: at, UpdatedAt: at,
	}
	made, err := m.db.RegisterDevice(m.t.Context(), d, m.by)
	mustBe(t, err, nil)
	m.devices[d.ID] = role
	mustBe(t, len(made), m.linkAll(d.ID))
	for _, l := range made {
		m.links[[2]string{l.CameraDeviceID, l.ClientDeviceID}].id = l.ID
	}
}

// linkAll links a device with all that have the other role, but for those that
// it was parted from, and returns with how many.
func (m *linkModel) linkAll(id string) (n int) {
	for other, role := range m.devices {
		if role == m.devices[id] {
			continue
		}
		pair := [2]string{id, other}
		if role == store.RoleCamera {
			pair = [2]string{other, id}
		}
		if m.links[pair] == nil {
			m.links[pair] = &modelLink{active: true}
			n++
		}
	}
	return n
}

func (m *linkModel) link(t *rapid.T) {
	pair := m.pair(t)
	if rapid.IntRange(0, 4).Draw(t, "the wrong way round") == 0 {
		_, err := m.db.CreateLink(m.t.Context(), m.row(pair[1], pair[0]), m.by)
		mustConflict(t, err)
		return
	}
	made, err := m.db.CreateLink(m.t.Context(), m.row(pair[0], pair[1]), m.by)
	if m.isActive(pair) {
		mustConflict(t, err)
		return
	}
	mustBe(t, err, nil)
	if before := m.links[pair]; before != nil {
		mustBe(t, made.ID, before.id)
	}
	m.links[pair] = &modelLink{made.ID, true}
}

func (m *linkModel) row(camera, client string) store.Link {
	return store.Link{
		ID: storetest.ID(), OwnerUserID: m.user.ID, CameraDeviceID: camera, ClientDeviceID: client, CreatedAt: storetest.Now(),
	}
}

// revoke parts a pair: what goes on between them ends with it.
func (m *linkModel) revoke(t *rapid.T) {
	pair := m.pair(t)
	l := m.links[pair]
	if l == nil {
		t.Skip("never linked")
	}
	err := m.db.RevokeLink(m.t.Context(), m.user.ID, l.id, m.by)
	if !l.active {
		mustConflict(t, err)
		return
	}
	mustBe(t, err, nil)
	l.active = false
	m.revoked++
	m.end(func(v *modelView) bool { return v.camera == pair[0] && v.client == pair[1] })
}

func (m *linkModel) end(which func(*modelView) bool) {
	for _, open := range []map[string]*modelView{m.streams, m.waiting} {
		maps.DeleteFunc(open, func(_ string, v *modelView) bool { return which(v) })
	}
}

// watch asks for a stream, which takes an active link.
func (m *linkModel) watch(t *rapid.T) {
	pair := m.pair(t)
	w := world{db: m.db, user: m.user, by: m.by, camera: store.Device{ID: pair[0]}, client: store.Device{ID: pair[1]}}
	stream, command := w.stream(), w.command()
	got, err := m.db.RequestStream(m.t.Context(), stream, command, m.by)
	live := false
	for _, v := range m.streams {
		if v.camera == pair[0] && v.client == pair[1] {
			mustConflict(t, err)
			return
		}
		live = live || v.camera == pair[0] && v.streaming
	}
	if !m.isActive(pair) {
		mustNotFind(t, err)
		return
	}
	mustBe(t, err, nil)
	m.streams[got.ID] = &modelView{camera: pair[0], client: pair[1], streaming: live, command: command.ID}
	if !live { // otherwise the camera need not be woken
		m.waiting[command.ID] = &modelView{camera: pair[0], client: pair[1]}
	}
}

// accept is the camera's answer, once for a stream.
func (m *linkModel) accept(t *rapid.T) {
	if len(m.streams) == 0 {
		t.Skip("no stream")
	}
	id := rapid.SampledFrom(slices.Sorted(maps.Keys(m.streams))).Draw(t, "stream")
	s := m.streams[id]
	w := world{db: m.db, user: m.user, camera: store.Device{ID: s.camera}}
	_, _, err := m.db.AcceptStream(m.t.Context(), s.camera, id, w.media(), m.by)
	if s.streaming {
		mustConflict(t, err)
		return
	}
	mustBe(t, err, nil)
	s.streaming = true
	delete(m.waiting, s.command) // that is an answer
}

func (m *linkModel) command(t *rapid.T) {
	pair := m.pair(t)
	w := world{db: m.db, user: m.user, by: m.by, camera: store.Device{ID: pair[0]}, client: store.Device{ID: pair[1]}}
	c := w.command()
	err := m.db.CreateCommand(m.t.Context(), c, m.by)
	if !m.isActive(pair) {
		mustNotFind(t, err)
		return
	}
	mustBe(t, err, nil)
	m.waiting[c.ID] = &modelView{camera: pair[0], client: pair[1]}
}

// change gives a device the other role, unless it streams: those that it was
// parted from it stays parted from.
func (m *linkModel) change(t *rapid.T) {
	id := m.device(t)
	role := store.RoleCamera
	if m.devices[id] == store.RoleCamera {
		role = store.RoleClient
	}
	_, err := m.db.UpdateDevice(m.t.Context(), m.user.ID, id, store.DeviceChange{Role: &role}, m.by)
	for _, v := range m.streams {
		if v.camera == id || v.client == id {
			mustConflict(t, err)
			return
		}
	}
	mustBe(t, err, nil)
	m.devices[id] = role
	maps.DeleteFunc(m.links, func(pair [2]string, l *modelLink) bool { return l.active && (pair[0] == id || pair[1] == id) })
	m.end(func(v *modelView) bool { return v.camera == id || v.client == id })
	m.linkAll(id)
}

func (m *linkModel) remove(t *rapid.T) {
	id := m.device(t)
	mustBe(t, m.db.DeleteDevice(m.t.Context(), m.user.ID, id, m.by), nil)
	delete(m.devices, id)
	maps.DeleteFunc(m.links, func(pair [2]string, _ *modelLink) bool { return pair[0] == id || pair[1] == id })
	m.end(func(v *modelView) bool { return v.camera == id || v.client == id })
}

// record keeps something of a camera, which its clients may see.
func (m *linkModel) record(t *rapid.T) {
	cameras := m.with(store.RoleCamera)
	if len(cameras) == 0 {
		t.Skip("no camera")
	}
	id := rapid.SampledFrom(cameras).Draw(t, "camera")
	w := world{user: m.user, camera: store.Device{ID: id}}
	r := w.recording()
	mustBe(t, m.db.CreateRecording(m.t.Context(), r, m.by), nil)
	m.kept[id] = r.ID
}

// check compares links, and what they allow, with the model.
func (m *linkModel) check(t *rapid.T) {
	ctx := m.t.Context()
	rows, err := m.db.Links(ctx, m.user.ID, store.LinkFilter{}, store.Page{Limit: 1000})
	mustBe(t, err, nil)
	mustBe(t, len(rows), len(m.links))
	for _, row := range rows {
		l := m.links[[2]string{row.CameraDeviceID, row.ClientDeviceID}]
		if l == nil {
			t.Fatalf("%+v is no link", row)
		}
		mustBe(t, row.Status == store.LinkActive, l.active)
		if l.id == "" { // made when a device changed its role
			l.id = row.ID
		}
		mustBe(t, row.ID, l.id)
	}
	m.checkOpen(t)
	m.checkSeen(t)
	revocations, err := m.db.Revocations(ctx, m.user.CreatedAt.Add(-1))
	mustBe(t, err, nil)
	revoked := 0
	for _, r := range revocations {
		if r.Kind == store.RevokedLink && r.OwnerUserID == m.user.ID {
			revoked++
		}
	}
	mustBe(t, revoked, m.revoked)
}

// checkOpen looks for streams and commands: they go on over active links only.
func (m *linkModel) checkOpen(t *rapid.T) {
	streams, err := m.db.Streams(m.t.Context(), m.user.ID, store.StreamFilter{}, store.Page{Limit: 1000})
	mustBe(t, err, nil)
	open := 0
	for _, s := range streams {
		if s.EndedAt.IsZero() {
			open++
			mustBe(t, m.streams[s.ID] != nil, true)
			mustBe(t, m.isActive([2]string{s.CameraDeviceID, s.RequesterDeviceID}), true)
		}
	}
	mustBe(t, open, len(m.streams))
	commands, err := m.db.Commands(m.t.Context(), m.user.ID, store.CommandFilter{}, store.Page{Limit: 1000})
	mustBe(t, err, nil)
	waiting := 0
	for _, c := range commands {
		if c.Status == store.CommandQueued {
			waiting++
			mustBe(t, m.waiting[c.ID] != nil, true)
			mustBe(t, m.isActive([2]string{c.TargetDeviceID, c.SourceDeviceID}), true)
		}
	}
	mustBe(t, waiting, len(m.waiting))
}

// checkSeen looks with the eyes of each client.
func (m *linkModel) checkSeen(t *rapid.T) {
	for _, client := range m.with(store.RoleClient) {
		rows, err := m.db.Recordings(m.t.Context(), m.user.ID, store.RecordingFilter{DeviceID: client}, store.Page{Limit: 1000})
		mustBe(t, err, nil)
		seen := map[string]bool{}
		for _, r := range rows {
			seen[r.CameraDeviceID] = true
		}
		for camera := range m.kept {
			// What it recorded itself while it was a camera, it sees still.
			mustBe(t, seen[camera], camera == client || m.isActive([2]string{camera, client}))
		}
	}
}

// TestLinkStateMachine does to the links of a user's devices, in any order, what
// the user and the devices do:
//
//   - a pair has one link at most, with one id as long as both devices keep their
//     roles, and is linked twice or parted twice by nobody;
//   - a pair that the user parted stays apart until the user links it, however
//     often devices come and change their roles;
//   - streams and commands go on over active links only, and end with them; a
//     stream is accepted once;
//   - a client sees what a camera recorded as long as they are linked;
//   - each revocation is written down for all processes, once.
func TestLinkStateMachine(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, db *store.DB) {
		rapid.Check(t, func(rt *rapid.T) {
			// Each run has a user of its own, so that one schema serves all.
			u := storetest.User(t, db)
			m := &linkModel{
				t: t, db: db, user: u, by: store.Actor{UserID: u.ID}, devices: map[string]store.DeviceRole{}, kept: map[string]string{},
				links: map[[2]string]*modelLink{}, streams: map[string]*modelView{}, waiting: map[string]*modelView{},
			}
			rt.Repeat(map[string]func(*rapid.T){
				"register": m.register, "register too": m.register, "link": m.link, "revoke": m.revoke, "watch": m.watch, "accept": m.accept,
				"command": m.command, "change role": m.change, "delete": m.remove, "record": m.record, "": m.check,
			})
		})
	})
}
