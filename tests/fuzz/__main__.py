import argparse, tempfile, time, sys, json
from pathlib import Path
from collections import Counter
from tests.fuzz.running import FAULT, OUTSIDE, cases_of, counted, run
p=argparse.ArgumentParser()
p.add_argument('--count',type=int,default=2000); p.add_argument('--seed',type=int,default=0); p.add_argument('--first',type=int,default=0)
p.add_argument('--formats',nargs='*')
a=p.parse_args()
from tests.fuzz.formats import FORMATS
names=a.formats or list(FORMATS)
t=time.time(); seen=Counter(); outs=[]
with tempfile.TemporaryDirectory() as d:
    for n in names:
        t1=time.time()
        for o in run(cases_of([n], -(-a.count//len(names)), a.seed, a.first), Path(d)/n.replace(' ','_')):
            outs.append(o)
            if o.kind in (FAULT,OUTSIDE):
                key=(o.case.format,o.told[:110]); seen[key]+=1
                if seen[key]==1: print(o.case,o.told,flush=True)
        c=counted(outs)[n]; print(f"== {n}: {dict(c)} {time.time()-t1:.1f} s", flush=True)
for k,v in seen.most_common(): print(v,k)
