package recorder

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/securecam/securecam/recorder/webm"
)

// ready reports whether the file can begin: there is a keyframe, or sound when there is no video track, and the
// other tracks have media too or have had their time.
func (m *muxer) ready(now time.Time) bool {
	tracks := m.r.snapshot()
	video, with := 0, [2]int{} // tracks with media, of sound and of pictures
	for _, t := range tracks {
		kind := 0
		if t.video() {
			video, kind = video+1, 1
		}
		if t.pending.len() > 0 {
			with[kind]++
		}
	}
	if video > 0 && with[1] == 0 {
		m.trim(tracks, now)
		m.waiting = time.Time{}
		return false
	}
	if with[0]+with[1] == 0 {
		return false
	}
	if m.waiting.IsZero() {
		m.waiting = now
	}
	complete := with[0] > 0 && with[1] > 0 && with[0]+with[1] == len(tracks)
	if m.r.cfg.Tracks > 0 {
		complete = with[0]+with[1] >= m.r.cfg.Tracks
	}
	return complete || m.pending > maxPending || now.Sub(m.waiting) >= m.r.cfg.TrackWait
}

// trim drops sound that came long before any picture.
func (m *muxer) trim(tracks []*track, now time.Time) {
	for _, t := range tracks {
		for t.pending.len() > 0 && (now.Sub(t.pending.head().arrived) > audioKept || m.pending > maxPending) {
			m.drop(t)
		}
	}
}

// begin creates the object and writes its head.
func (m *muxer) begin(ctx context.Context) error {
	m.align()
	tracks, first := m.choose(m.r.seal())
	for _, t := range tracks {
		d := t.clock.settle()
		for i := range t.pending.all() {
			t.pending.all()[i].time += d
		}
	}
	m.zero = first.pending.head().time
	for _, t := range tracks {
		if t.pending.len() > 0 && t.video() == first.video() {
			m.zero = min(m.zero, t.pending.head().time)
		}
	}
	return m.create(ctx, tracks)
}

// choose returns the tracks of the file, pictures first, and the one that it begins with. A video track that has
// no keyframe yet cannot be in it.
func (m *muxer) choose(all []*track) (tracks []*track, first *track) {
	for _, video := range []bool{true, false} {
		for _, t := range all {
			if t.video() != video || video && t.pending.len() == 0 {
				continue
			}
			if first == nil && t.pending.len() > 0 {
				first = t
			}
			t.number = len(tracks)
			tracks = append(tracks, t)
		}
	}
	return tracks, first
}

func (m *muxer) create(ctx context.Context, tracks []*track) error {
	list := make([]webm.Track, len(tracks))
	for i, t := range tracks {
		list[i] = webm.Track{Codec: t.codec}
		t.lastTime = m.zero
		if t.video() {
			f := t.pending.head()
			list[i].Width, list[i].Height, list[i].Private = f.width, f.height, f.private
			t.lastStep = firstDuration
		} else {
			list[i].Channels = int(t.info.Channels)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	object, err := m.r.cfg.Objects.Create(ctx, m.r.cfg.Key, webm.ContentType(list))
	if err != nil {
		return fmt.Errorf("recorder: create %s: %w", m.r.cfg.Key, err)
	}
	m.object = object
	m.writer, err = webm.NewWriter(object, list, webm.Options{
		ClusterLength: m.r.cfg.ClusterLength,
		Date:          m.epoch.Add(m.zero),
	})
	if err != nil {
		return err
	}
	m.tracks = tracks
	m.r.log.Debug("recording started", slog.Int("tracks", len(tracks)))
	return nil
}

// align lets all tracks follow the first one that has a sender report, pictures before sound.
func (m *muxer) align() {
	all := m.r.snapshot()
	var leader *track
	for _, t := range all {
		if _, ok := t.clock.offset(); ok && (leader == nil || t.video() && !leader.video()) {
			leader = t
		}
	}
	if leader == nil {
		return
	}
	offset, _ := leader.clock.offset()
	for _, t := range all {
		if t != leader {
			t.clock.follow(offset + leader.clock.target)
		}
	}
}
