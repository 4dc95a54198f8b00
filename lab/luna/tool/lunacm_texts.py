"""Knows every text that `lunacm` prints.

Marks beside the texts: D documented by the vendor, S seen in transcripts or in scripts that match it, M made up.
"""

DONE = "\nCommand Result : No Error"  # S
FAILED = "\nCommand Result : {0}"  # M, after the form of DONE
UNKNOWN = "0x1 Unknown command"  # S, 10.9
BARE = "Unknown command-line arguments"  # S, 10.9
INTERACTIVE = "This stand-in takes one command, after -q or -c."  # M
SYNTAX = "Syntax: hagroup {0} {1}"  # M
MISSING = "The option -{0} is missing."  # M
CREATED = '\tNew group with label "{0}" created with group number {1}.'  # D
CREATED_GROUP = """\tGroup configuration is:

\t         HA Group Label:  {label}
\t        HA Group Number:  {serial}
\t          Group Members:  {members}
\t             Needs sync:  no
"""  # D
RESTART = "\tIt is recommended that you restart LunaCM to refresh the list of available slots."  # D
JOINED = "\tMember {0} successfully added to group {1}."  # S, in a third party's mock only
GLOBAL = """
   HA auto recovery:  {recovery}
   HA recovery mode:  activeBasic
   Maximum auto recovery retry:  {retry}
   Auto recovery poll interval:  {interval} seconds
   HA logging:  disabled
   Only Show HA Slots:  {only}
"""  # D
GROUP = """
         HA Group Label:  {label}
        HA Group Number:  {serial}
       HA Group Slot ID:  {slot}
       Synchronization: enabled
          Group Members:  {members}
             Needs sync:  {sync}
        Standby Members:  <none>

Slot #    Member S/N                      Member Label    Status
======    ==========                      ============    ======"""  # D
NO_SYNC = "Sync info not available in HA Only mode"  # S
MEMBER_ROW = "{0:>6}  {1:>13}  {2:>32}  {3:>8}"  # D
CANCELLED = "The operation was cancelled, nothing was changed."  # M
HA_ONLY = '\t"HA Only" has been {0}.'  # M
RETRY = "\tHA Auto Recovery Count has been set to {0}"  # D
INTERVAL = "\tHA Auto Recovery Interval has been set to {0} seconds."  # M
INCORRECT = "0xa0 (CKR_PIN_INCORRECT)"  # M: the numbers are PKCS #11's
LOCKED = "0xa4 (CKR_PIN_LOCKED)"  # M
GENERAL = "0x5 (CKR_GENERAL_ERROR)"  # M
SERVER = "\tServer Hostname: {0}"  # M
NO_SERVERS = "\tThere are no servers registered."  # S, of vtl 10.9
SLOTS_HEAD = "\tAvailable HSMs:"  # D
SLOT = """
\tSlot Id ->              {slot}
\tLabel ->                {label}
\tSerial Number ->        {serial}
\tModel ->                {model}
\tFirmware Version ->     {version}
\tConfiguration ->        Luna User Partition With SO (PW) Key Export With Cloning Mode
\tSlot Description ->     {kind}"""  # D
CURRENT = "\n\tCurrent Slot Id: {0}"  # D
