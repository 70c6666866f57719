"""An archive that verifies, by pynetdicom.

    verify_scu.py HOST PORT CALLED

Proposes verification in each uncompressed syntax and CT storage, with a PDU length of its own,
echoes three times, and prints what it got.
"""

import json
import sys

from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import AE
from pynetdicom.sop_class import CTImageStorage, Verification

host, port, called = sys.argv[1], int(sys.argv[2]), sys.argv[3]

ae = AE(ae_title="PYNET")
ae.maximum_pdu_size = 4096
ae.add_requested_context(Verification, [ExplicitVRBigEndian])
ae.add_requested_context(Verification, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
ae.add_requested_context(CTImageStorage, [ImplicitVRLittleEndian])
ae.add_requested_context(Verification, ["1.2.840.10008.1.2.4.70"])

association = ae.associate(host, port, ae_title=called)
told = {"established": association.is_established, "rejected": association.is_rejected}
if association.is_established:
    told["accepted"] = [
        [context.abstract_syntax, context.transfer_syntax[0]]
        for context in association.accepted_contexts
    ]
    told["results"] = sorted(
        [context.abstract_syntax, context.result] for context in association.rejected_contexts
    )
    told["length"] = association.acceptor.maximum_length
    told["name"] = association.acceptor.implementation_version_name
    told["echoes"] = [association.send_c_echo(msg_id=at).Status for at in (1, 7, 65535)]
    association.release()
    told["released"] = association.is_released
print(json.dumps(told))
