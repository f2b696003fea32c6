//! Certificates for a server of this machine, by an authority that exists for one test.

use std::path::Path;

use crate::folder::give;
use crate::programs::{as_servant, must_run};

/// All that `openssl` has to know; its own configuration differs from machine to machine.
const CONFIGURATION: &str = "\
[req]
distinguished_name = nobody
prompt = no
[nobody]
CN = candor-testbed
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1
";

/// Puts into `folder`: `ca.crt`, the authority's certificate; `server.crt` and `server.key`, for `localhost` and
/// 127.0.0.1. The authority's key is not kept.
///
/// # Panics
/// When there is no `openssl`.
pub(crate) fn certify(folder: &Path) {
    let configuration = folder.join("openssl.cnf");
    std::fs::write(&configuration, CONFIGURATION).expect("openssl's configuration cannot be written");
    give(&configuration);
    let openssl = |words: &str| {
        let mut command = as_servant("openssl", folder);
        must_run(command.args(words.split_whitespace()).env("OPENSSL_CONF", &configuration));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -config openssl.cnf";
    openssl(&format!("req -x509 {key} -extensions authority -days 30 -keyout ca.key -out ca.crt"));
    openssl(&format!("req {key} -subj /CN=localhost -keyout server.key -out server.csr"));
    openssl(
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -set_serial 1 -days 30 -extfile openssl.cnf \
         -extensions server -out server.crt",
    );
    for name in ["ca.key", "server.csr", "openssl.cnf"] {
        let _ = std::fs::remove_file(folder.join(name));
    }
}
