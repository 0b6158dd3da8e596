package auth

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/securecam/securecam/control/fault"
	"github.com/securecam/securecam/control/rest"
	"github.com/securecam/securecam/store"
)

var (
	errInvalidPassword = fault.New(fault.Invalid, "INVALID_PASSWORD", "Invalid password")
	errNothingToUpdate = fault.New(fault.Invalid, "NO_FIELDS_TO_UPDATE", "No fields to update")
	errNotFresh        = fault.New(fault.Forbidden, "SESSION_NOT_FRESH", "Session is not fresh")
	errSessionExpired  = fault.New(fault.Invalid, "SESSION_EXPIRED", "Session expired. Re-authenticate to perform this action.")
)

func (s *Service) mountAccount(r routes) {
	rest.Register(r.api, r.op("updateUser", http.MethodPost, "/update-user", "Change one's name or picture", Session), s.updateUser,
		errNothingToUpdate)
	rest.Register(r.api, r.op("changePassword", http.MethodPost, "/change-password", "Change one's password", Session),
		s.changePassword, errInvalidPassword, ErrPasswordTooShort, ErrPasswordTooLong, errBusy)
	rest.Register(r.api, r.op("deleteUser", http.MethodPost, "/delete-user", "Delete one's account and all it owns", Session),
		s.deleteUser, errInvalidPassword, errSessionExpired, errInvalidCallback, errBusy)
	deletion := r.op("deleteUserCallback", http.MethodGet, "/delete-user/callback",
		"Where the letter's link leads: the account is deleted", Session)
	rest.Register(r.api, deletion, s.openDeletion, errNoDeletion, errInvalidCallback)
	rest.OrRedirect(r.api, deletion)
	rest.Register(r.api, r.op("listAccounts", http.MethodGet, "/list-accounts", "List one's ways to sign in but passkeys", Session),
		s.listAccounts)
}

type updateUserInput struct {
	Cookie string `header:"Cookie" hidden:"true"`
	Body   struct {
		Name  *string `json:"name,omitempty" minLength:"1" maxLength:"128"`
		Image *string `json:"image,omitempty" maxLength:"2048" nullable:"true" doc:"A URL; empty removes it"`
	}
}

func (s *Service) updateUser(ctx context.Context, in *updateUserInput) (*statusOutput, error) {
	c, err := s.signedIn(ctx, in.Cookie)
	if err != nil {
		return nil, err
	}
	change := store.UserChange{Name: in.Body.Name, Image: in.Body.Image}
	if change == (store.UserChange{}) {
		return nil, errNothingToUpdate
	}
	if _, err := s.store.UpdateUser(ctx, c.user.ID, change, actor(ctx, c.user.ID)); err != nil {
		return nil, err
	}
	return statusOK(), nil
}

type changePasswordInput struct {
	Cookie string `header:"Cookie" hidden:"true"`
	Body   struct {
		NewPassword         string `json:"newPassword" maxLength:"1024" doc:"8 to 128 characters"`
		CurrentPassword     string `json:"currentPassword" maxLength:"1024"`
		RevokeOtherSessions bool   `json:"revokeOtherSessions,omitempty"`
	}
}

type changePasswordOutput struct {
	Body struct {
		Token *string  `json:"token" nullable:"true" doc:"Of the new session, if the old ones were revoked"`
		User  userView `json:"user"`
	}
}

func (s *Service) changePassword(ctx context.Context, in *changePasswordInput) (*changePasswordOutput, error) {
	c, err := s.signedIn(ctx, in.Cookie)
	if err != nil {
		return nil, err
	}
	if err := checkLength(in.Body.NewPassword); err != nil {
		return nil, err
	}
	if err := s.confirmPassword(ctx, c.user, in.Body.CurrentPassword); err != nil {
		return nil, err
	}
	hash, err := s.passwords.hash(ctx, in.Body.NewPassword)
	if err != nil {
		return nil, err
	}
	out := &changePasswordOutput{}
	out.Body.User = viewUser(c.user)
	change := store.PasswordChange{UserID: c.user.ID, Hash: hash, Revoke: in.Body.RevokeOtherSessions}
	var cookie *http.Cookie
	if change.Revoke {
		swap, token, fresh := s.swapSession(ctx, c)
		change.Next, out.Body.Token, cookie = &swap.Next, &token, fresh
	}
	if err := s.store.SetPassword(ctx, change, actor(ctx, c.user.ID)); err != nil {
		return nil, err
	}
	if cookie != nil {
		setCookie(ctx, cookie)
	}
	s.tell(c.user.Email, passwordChanged(false))
	return out, nil
}

type deleteUserInput struct {
	Cookie string `header:"Cookie" hidden:"true"`
	Body   *struct {
		Password    string `json:"password,omitempty" maxLength:"1024" doc:"Needed unless the session is younger than a day"`
		CallbackURL string `json:"callbackURL,omitempty" maxLength:"2048" doc:"The page that a letter's link leads to"`
		Token       string `json:"token,omitempty" maxLength:"128" doc:"Of a letter that confirms"`
	}
}

type deleteUserOutput struct {
	Body struct {
		Success bool   `json:"success"`
		Message string `json:"message"`
	}
}

func (s *Service) deleteUser(ctx context.Context, in *deleteUserInput) (*deleteUserOutput, error) {
	c, err := s.signedIn(ctx, in.Cookie)
	if err != nil {
		return nil, err
	}
	password, callbackURL, token := "", "", ""
	if in.Body != nil {
		password, callbackURL, token = in.Body.Password, in.Body.CallbackURL, in.Body.Token
	}
	out := &deleteUserOutput{}
	out.Body.Success, out.Body.Message = true, "User deleted"
	switch {
	case token != "":
		err = s.deleteByToken(ctx, c.user.ID, token)
	case password != "":
		if err = s.confirmPassword(ctx, c.user, password); err == nil {
			err = s.DeleteUser(ctx, c.user.ID, actor(ctx, c.user.ID))
		}
	case s.isFresh(c):
		err = s.DeleteUser(ctx, c.user.ID, actor(ctx, c.user.ID))
	case !s.verifyNew: // letters go nowhere
		err = errSessionExpired
	case !s.allowsCallback(ctx, callbackURL):
		err = errInvalidCallback
	default:
		out.Body.Message = "Verification email sent"
		return out, s.sendDeletion(ctx, c.user, callbackURL)
	}
	if err != nil {
		return nil, err
	}
	s.forgetCookies(ctx)
	return out, nil
}

// forgetCookies has the browser of a deleted user know nothing any more.
func (s *Service) forgetCookies(ctx context.Context) {
	setCookie(ctx, s.cookie(ctx, cookieName, "", -time.Second), s.cookie(ctx, trustCookie, "", -time.Second))
}

type openDeletionInput struct {
	Cookie      string `header:"Cookie" hidden:"true"`
	Token       string `query:"token" required:"true" maxLength:"128"`
	CallbackURL string `query:"callbackURL" maxLength:"2048"`
}

// openDeletion deletes the account if the browser is signed in to it: programs
// that open the links of letters are not.
func (s *Service) openDeletion(ctx context.Context, in *openDeletionInput) (*redirectOutput, error) {
	c, err := s.signedIn(ctx, in.Cookie)
	if err != nil {
		return nil, err
	}
	if !s.allowsCallback(ctx, in.CallbackURL) {
		return nil, errInvalidCallback
	}
	if err := s.deleteByToken(ctx, c.user.ID, in.Token); err != nil {
		return nil, err
	}
	s.forgetCookies(ctx)
	return redirect(cmp.Or(in.CallbackURL, "/sim")), nil
}

type accountView struct {
	ID         string    `json:"id"`
	ProviderID string    `json:"providerId"`
	AccountID  string    `json:"accountId"`
	UserID     string    `json:"userId"`
	Scopes     []string  `json:"scopes" nullable:"false"`
	CreatedAt  time.Time `json:"createdAt"`
	UpdatedAt  time.Time `json:"updatedAt"`
}

type listAccountsOutput struct {
	Body []accountView `nullable:"false"`
}

// listAccounts shows the password: no other provider signs anybody in.
func (s *Service) listAccounts(ctx context.Context, in *sessionInput) (*listAccountsOutput, error) {
	c, err := s.signedIn(ctx, in.Cookie)
	if err != nil {
		return nil, err
	}
	return &listAccountsOutput{Body: []accountView{{
		ID: c.user.ID, ProviderID: "credential", AccountID: c.user.ID, UserID: c.user.ID, Scopes: []string{},
		CreatedAt: c.user.CreatedAt, UpdatedAt: c.user.UpdatedAt,
	}}}, nil
}
