package auth

// WeakenPasswords makes hashes cheap. What tests of accounts look at does not
// depend on their cost.
func (s *Service) WeakenPasswords() { s.passwords = newHasherOf(64) }
