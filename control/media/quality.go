package media

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/securecam/securecam/control/fault"
)

const typeJSON = "application/json"

// maxQualityBody bounds what a viewer says of its wishes.
const maxQualityBody = 1 << 10

var (
	errQuality = fault.New(fault.Invalid, "invalid_quality",
		"A quality is an object of maxHeight and maxBitrate (numbers from 0, which means any), rid, spatialId, temporalId, paused and live.")
	errTalkback  = fault.New(fault.Invalid, "invalid_talkback", "talkback must be true or false.")
	errMaxHeight = fault.New(fault.Invalid, "invalid_quality", "maxHeight must be a number of pixels, 0 for any.")
	errLive      = fault.New(fault.Invalid, "invalid_quality", "live must be true or false.")
)

// Quality is what a viewer wants at most of what its camera sends; of that it gets the best that its link carries.
type Quality struct {
	MaxHeight  int    `json:"maxHeight,omitempty"`  // of the picture's shorter side, in pixels; 0 means any
	MaxBitrate int    `json:"maxBitrate,omitempty"` // of the video, in bit/s; 0 means any
	RID        string `json:"rid,omitempty"`        // the simulcast layer; "" means any
	SpatialID  *int   `json:"spatialId,omitempty"`  // layer within the stream; absent means any
	TemporalID *int   `json:"temporalId,omitempty"`
	Paused     bool   `json:"paused,omitempty"`
	// Live has the player show pictures as soon as they come, even if some are then missing: to steer a camera by them.
	Live bool `json:"live,omitempty"`
}

// Layer is one encoding of the video that a camera sends.
type Layer struct {
	RID            string  `json:"rid,omitempty"`
	Active         bool    `json:"active"`
	Width          int     `json:"width"` // 0 if not known
	Height         int     `json:"height"`
	Bitrate        int     `json:"bitrate"`
	FramesPerSec   float64 `json:"framesPerSecond"`
	SpatialLayers  int     `json:"spatialLayers"`
	TemporalLayers int     `json:"temporalLayers"`
}

// valid reports whether the numbers can be meant.
func (q Quality) valid() bool {
	for _, id := range []*int{q.SpatialID, q.TemporalID} {
		if id != nil && (*id < 0 || *id > 7) {
			return false
		}
	}
	return q.MaxHeight >= 0 && q.MaxHeight <= 1<<16 && q.MaxBitrate >= 0 && q.MaxBitrate <= 1<<30 && len(q.RID) <= 32
}

// qualityOf reads the wish that a viewer's endpoint URL carries, ?maxHeight=360&live=true; there is none in most.
func qualityOf(c *fiber.Ctx) (q Quality, err error) {
	if height := c.Query("maxHeight"); height != "" {
		if q.MaxHeight, err = strconv.Atoi(height); err != nil || !q.valid() {
			return Quality{}, errMaxHeight
		}
	}
	if live := c.Query("live"); live != "" {
		if q.Live, err = strconv.ParseBool(live); err != nil {
			return Quality{}, errLive
		}
	}
	return q, nil
}

// ReadQuality reads a viewer's wish in JSON. Its error is the fault invalid_quality.
func ReadQuality(raw []byte) (Quality, error) {
	if len(raw) > maxQualityBody {
		return Quality{}, errQuality
	}
	var q Quality
	read := json.NewDecoder(bytes.NewReader(raw))
	read.DisallowUnknownFields()
	if err := read.Decode(&q); err != nil || !q.valid() || read.More() {
		return Quality{}, errQuality
	}
	return q, nil
}

// setQuality takes a viewer's wish: PATCH of its session with JSON.
func (s *Service) setQuality(c *fiber.Ctx, h handle) error {
	q, err := ReadQuality(c.Request().Body())
	if err != nil {
		return err
	}
	if err := s.sfu.SetQuality(h.SessionID, q); err != nil {
		return err
	}
	c.Status(fiber.StatusNoContent)
	return nil
}

// tellQuality answers GET of a viewer's session with the layers that the camera sends, for who asks for JSON.
func (s *Service) tellQuality(c *fiber.Ctx, h handle, d direction) error {
	if d != subscribe || c.Method() != fiber.MethodGet || !strings.Contains(c.Get(fiber.HeaderAccept), typeJSON) {
		c.Status(fiber.StatusNoContent)
		return nil
	}
	c.Set(fiber.HeaderCacheControl, noStore)
	return c.JSON(struct {
		Layers []Layer `json:"layers"`
	}{s.sfu.Layers(h.MediaSessionID)})
}
