package auth

import (
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"barback/runner/durable"
)

// Keeper knows the identities and what they may do.
type Keeper struct {
	Users  *Users
	Tokens *Tokens
	Keys   *Keys
	Peers  Peers
	MD5    bool   // passwords that were taken over from barmanapi are good for one login, which makes Argon2id hashes of them
	Proxy  string // the local user of a web server that connects for others; empty: there is none
	logins *logins
}

// New is the keeper of a state directory. It makes no file before one is needed.
func New(stateDir string, peers Peers) *Keeper {
	dir := filepath.Join(stateDir, "auth")
	tokens := &Tokens{Dir: filepath.Join(dir, "tokens"), memory: durable.Kept[Token]{Most: seenTokens}}
	return &Keeper{
		Users:  &Users{Path: filepath.Join(stateDir, "users.toml"), fresh: tokens.RevokeAll, memory: durable.Kept[table]{Most: 1}},
		Tokens: tokens,
		Keys:   &Keys{Path: filepath.Join(dir, "jwt.key")},
		Peers:  peers,
		logins: newLogins(dir),
	}
}

// The refusals of what a client showed.
var (
	ErrToken  = errors.New("the token is not valid: it has expired, was revoked, or never was one")
	ErrScheme = errors.New("the Authorization header is none that barback knows: send one, Basic with user and password, or Bearer with a token")
)

// Identify says who a request comes from and what it may do. What a client shows is
// checked, and if it is wrong the request is refused, whoever else vouches for it. Where Apache
// vouches for the user, it has looked at the Authorization header itself; a token of barback's own
// counts all the same, as whoever shows one wants to be its user.
func (k *Keeper) Identify(r *http.Request, now time.Time) (Identity, Rights, error) {
	id := FromContext(r.Context())
	scheme, value, err := authorization(r)
	bearer := strings.EqualFold(scheme, "Bearer")
	switch {
	case vouched(r.Context()) != "" && (!bearer || !strings.HasPrefix(value, TokenPrefix)):
		return k.rights(id)
	case err != nil:
		return id, Rights{}, err
	case bearer:
		return k.byToken(value, now)
	case scheme != "":
		return k.byPassword(r, now)
	}
	if p, ok := PeerFrom(r.Context()); ok {
		if name, ok := k.Peers.identity(p, k.Proxy); ok {
			id = Identity{Name: name, Known: true, How: ByPeer}
		}
	}
	return k.rights(id)
}

// authorization reads the header: Basic or Bearer, once.
func authorization(r *http.Request) (scheme, value string, err error) {
	all := r.Header.Values("Authorization")
	if len(all) == 0 {
		return "", "", nil
	}
	scheme, value, _ = strings.Cut(all[0], " ")
	if len(all) > 1 || !strings.EqualFold(scheme, "Basic") && !strings.EqualFold(scheme, "Bearer") {
		return scheme, value, ErrScheme
	}
	return scheme, strings.TrimSpace(value), nil
}

func (k *Keeper) rights(id Identity) (Identity, Rights, error) {
	user, _, err := k.Users.Find(id.Name)
	if err != nil {
		return id, Rights{}, err
	}
	return id, user.rights(id, nil), nil
}

func (user *User) rights(id Identity, scope []string) Rights {
	r := user.Rights()
	r.known, r.scope = id.Known, scope
	return r
}

// byToken lets in whoever shows a token, as long as its user is in users.toml.
func (k *Keeper) byToken(secret string, now time.Time) (Identity, Rights, error) {
	nobody := Identity{Name: Anonymous, How: ByNobody}
	t, err := k.Tokens.Find(secret, now)
	if errors.Is(err, ErrNoToken) {
		return nobody, Rights{}, ErrToken
	}
	if err != nil {
		return nobody, Rights{}, err
	}
	user, known, err := k.Users.Find(t.User)
	if err != nil || !known {
		return nobody, Rights{}, errors.Join(ErrToken, err)
	}
	id := Identity{Name: t.User, Known: true, How: ByToken}
	return id, user.rights(id, t.Scope), nil
}

// SignJWT makes a JSON Web Token of an identity that is in users.toml. It ends with its password, and when
// the identity is removed, even if there is one of that name again.
func (k *Keeper) SignJWT(name string, audience Audience, lifetime time.Duration, now time.Time) (string, error) {
	user, err := k.jwtUser(name)
	if err != nil {
		return "", err
	}
	return k.Keys.Sign(name, user.stamp(), audience, lifetime, now)
}

// ByJWT lets in whoever shows a JSON Web Token. What its user may is looked up now.
func (k *Keeper) ByJWT(token string, audience Audience, now time.Time) (Identity, Rights, error) {
	nobody := Identity{Name: Anonymous, How: ByNobody}
	name, bound, err := k.Keys.Verify(token, audience, now)
	if err != nil {
		return nobody, Rights{}, err
	}
	user, err := k.jwtUser(name)
	if err == nil && user.stamp() != bound {
		err = ErrJWT
	}
	if err != nil {
		return nobody, Rights{}, err
	}
	return k.rights(Identity{Name: name, Known: true, How: ByToken})
}

func (k *Keeper) jwtUser(name string) (User, error) {
	user, known, err := k.Users.Find(name)
	if err == nil && (!known || name == Anonymous) {
		err = ErrJWT
	}
	return user, err
}

// byPassword checks Basic credentials.
func (k *Keeper) byPassword(r *http.Request, now time.Time) (Identity, Rights, error) {
	nobody := Identity{Name: Anonymous, How: ByNobody}
	name, password, ok := r.BasicAuth()
	if !ok || !ValidName(name) || len(password) > maxPassword {
		return nobody, Rights{}, ErrPassword
	}
	if err := k.Login(name, password, Remote(r), now); err != nil {
		return nobody, Rights{}, err
	}
	return k.rights(Identity{Name: name, Known: true, How: ByPassword})
}

// Login checks a password: ErrPassword, a ThrottledError or a BusyError if it lets nobody in. remote
// is where it comes from.
func (k *Keeper) Login(name, password, remote string, now time.Time) error {
	user, _, err := k.Users.Find(name)
	if err != nil {
		return err
	}
	hash := user.Password
	if user.Legacy() && !k.MD5 {
		hash = ""
	}
	err = k.logins.check(name, remote, password, hash, now)
	if err == nil && user.Legacy() {
		k.renew(name, password, hash)
	}
	return err
}

// Hash is a password as users.toml keeps it, made when there is room for it.
func (k *Keeper) Hash(password string) (string, error) {
	if err := makeDirs(k.logins.dir); err != nil {
		return "", err
	}
	leave, err := k.logins.slot(true)
	if err != nil {
		return "", err
	}
	defer leave()
	return HashPassword(password), nil
}

// CanLogIn says how many identities have a password, a token or a local user.
func (k *Keeper) CanLogIn() (n int, err error) {
	users, err := k.Users.All()
	if err != nil {
		return 0, err
	}
	tokens, err := k.Tokens.All()
	if err != nil {
		return 0, err
	}
	can := map[string]bool{}
	for _, t := range tokens {
		can[t.User] = true
	}
	for _, name := range k.Peers {
		can[name] = true
	}
	for name, user := range users {
		if user.Password != "" || can[name] {
			n++
		}
	}
	return n, nil
}

// Remove forgets an identity and its tokens, the tokens first: nothing of it comes back with
// a new one of that name.
func (k *Keeper) Remove(name string) error {
	if _, known, err := k.Users.Find(name); err != nil || !known {
		return errors.Join(err, ErrNoUser)
	}
	if _, err := k.Tokens.RevokeAll(name); err != nil {
		return err
	}
	return k.Users.Change(name, func(*User) bool { return false })
}

// So many refusals are told: of one address, and of all together.
const (
	loudRefusals = 30
	loudTogether = 10_000
)

// Tell says whether to write down one more refusal of somebody without a login, and how many there
// were of that address: the first ones, and then each time that their number has doubled, until there were
// none for a while. Clients that are refused without end do not fill the disk.
func (k *Keeper) Tell(remote string, now time.Time) (n int, tell bool) {
	together := 0
	err := k.logins.failures.with(now, func(p *page) (err error) {
		if n, err = p.more(&refusals, prefix(remote)); err != nil || !loud(n, loudRefusals) {
			return err
		}
		together, err = p.more(&refusals, "")
		return err
	})
	return n, err != nil || loud(n, loudRefusals) && loud(together, loudTogether)
}

func loud(n, first int) bool { return n <= first || n&(n-1) == 0 }
